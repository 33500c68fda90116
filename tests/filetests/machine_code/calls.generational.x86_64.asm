; direct (generational, x86-64-v3)
; (param anyref) (result anyref)
; 6 instructions, 12 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
         0004  movq %rsi, %rax
@0066    0007  movq %rbp, %rsp
         000a  popq %rbp
         000b  retq

; direct (generational, x86-64-v3)
; (param anyref) (result i32)
; 23 instructions, 88 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
@006d    0004  rorxl $0x1, %esi, %r10d
         000a  testl %r10d, %r10d
         000d  jle 0x002a
         0013  movq (%rdi), %rax
         0016  movl $0x18000000, %ecx
         001b  andl (%rax, %rsi), %ecx                  ; trap: corrupt GC heap
         001e  cmpl $0x18000000, %ecx
         0024  jne 0x0054
@0072  > 002a  testl %r10d, %r10d
         002d  jle 0x004a
         0033  movq (%rdi), %rax
         0036  movl $0x18000000, %ecx
@0072    003b  andl (%rax, %rsi), %ecx                  ; trap: corrupt GC heap
         003e  cmpl $0x18000000, %ecx
         0044  jne 0x0056
       > 004a  movl $0x1, %eax
@0076    004f  movq %rbp, %rsp
         0052  popq %rbp
         0053  retq
@006d  > 0054  ud2                                      ; trap: cast failure
@0072  > 0056  ud2                                      ; trap: cast failure

; import (generational, x86-64-v3)
; (param anyref) (result anyref)
; 19 instructions, 64 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
         0004  movq 0x10(%rdi), %r10
         0008  movq (%r10), %r10
         000b  addq $0x20, %r10
         000f  cmpq %rsp, %r10
         0012  ja 0x003e
         0018  subq $0x10, %rsp
         001c  movq %rdi, (%rsp)
@007b    0020  movq %rsi, 0x8(%rsp)
         0025  movq 0x30(%rdi), %r8
         0029  movq 0x38(%rdi), %rdi
         002d  callq *%r8
               ; frame of 16 bytes, references at 0x8(%rsp)
@0080    0030  movq 0x8(%rsp), %rax
         0035  addq $0x10, %rsp
         0039  movq %rbp, %rsp
         003c  popq %rbp
         003d  retq
       > 003e  ud2                                      ; trap: call stack exhausted

; ref (generational, x86-64-v3)
; (param anyref) (param (ref null $f)) (result anyref)
; 19 instructions, 63 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
         0004  movq 0x10(%rdi), %r10
         0008  movq (%r10), %r10
         000b  addq $0x20, %r10
         000f  cmpq %rsp, %r10
         0012  ja 0x003d
         0018  subq $0x10, %rsp
         001c  movq %rdi, (%rsp)
@0087    0020  movq (%rdx), %r8                         ; trap: null reference
         0023  movq 0x8(%rdx), %rdi
         0027  movq %rsi, 0x8(%rsp)
         002c  callq *%r8
               ; frame of 16 bytes, references at 0x8(%rsp)
@008c    002f  movq 0x8(%rsp), %rax
         0034  addq $0x10, %rsp
         0038  movq %rbp, %rsp
         003b  popq %rbp
         003c  retq
       > 003d  ud2                                      ; trap: call stack exhausted

; indirect (generational, x86-64-v3)
; (param anyref) (param i32) (result anyref)
; 29 instructions, 97 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
         0004  movq 0x10(%rdi), %r10
         0008  movq (%r10), %r10
         000b  addq $0x20, %r10
         000f  cmpq %rsp, %r10
         0012  ja 0x005b
         0018  subq $0x10, %rsp
         001c  movq %rdi, (%rsp)
@0093    0020  movl %edx, %eax
         0022  cmpq $0x4, %rax
         0026  jae 0x005d
         002c  movq 0x48(%rdi), %rcx
         0030  movq (%rcx, %rax, 8), %rax
         0034  movl 0x10(%rax), %ecx                    ; trap: uninitialized element
         0037  testl %ecx, %ecx
         0039  jne 0x005f
         003f  movq (%rax), %rcx
         0042  movq 0x8(%rax), %rdi
         0046  movq %rsi, 0x8(%rsp)
         004b  callq *%rcx
               ; frame of 16 bytes, references at 0x8(%rsp)
@0099    004d  movq 0x8(%rsp), %rax
         0052  addq $0x10, %rsp
         0056  movq %rbp, %rsp
         0059  popq %rbp
         005a  retq
       > 005b  ud2                                      ; trap: call stack exhausted
@0093  > 005d  ud2                                      ; trap: undefined element: out of bounds table access
       > 005f  ud2                                      ; trap: indirect call type mismatch
