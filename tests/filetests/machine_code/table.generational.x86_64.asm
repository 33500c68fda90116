; get (generational, x86-64-v3)
; (param i32) (result externref)
; 11 instructions, 30 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
@0053    0004  movl %esi, %esi
         0006  cmpq 0x38(%rdi), %rsi
         000a  jae 0x001c
         0010  movq 0x30(%rdi), %rdi
         0014  movl (%rdi, %rsi, 4), %eax
@0055    0017  movq %rbp, %rsp
         001a  popq %rbp
         001b  retq
@0053  > 001c  ud2                                      ; trap: undefined element: out of bounds table access

; set (generational, x86-64-v3)
; (param i32) (param externref)
; 17 instructions, 60 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
@005c    0004  movl %esi, %r10d
         0007  cmpq 0x38(%rdi), %r10
         000b  jae 0x003a
         0011  movq 0x30(%rdi), %rax
         0015  leaq (%rax, %r10, 4), %r8
         0019  movl %edx, (%rax, %r10, 4)
         001d  movq 0x8(%rdi), %rax
         0021  movq 0x38(%rax), %rax
         0025  shrq $0xa, %r8
         0029  andq $0xfff, %r8
         0030  movb $0x1, (%rax, %r8)
@005e    0035  movq %rbp, %rsp
         0038  popq %rbp
         0039  retq
@005c  > 003a  ud2                                      ; trap: undefined element: out of bounds table access

; grow (generational, x86-64-v3)
; (param externref) (param i32) (result i32)
; 18 instructions, 54 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
         0004  movq 0x10(%rdi), %r10
         0008  movq (%r10), %r10
         000b  addq $0x10, %r10
         000f  cmpq %rsp, %r10
         0012  ja 0x0034
         0018  movq %rsi, %r10
@0065    001b  xorl %esi, %esi
         001d  movl %edx, %ecx
         001f  movq %r10, %rdx
         0022  callq table_grow_ref
         0027  movq 0x10(%rdi), %r9
         002b  movq 0x20(%r9), %rax
@0068    002f  movq %rbp, %rsp
         0032  popq %rbp
         0033  retq
       > 0034  ud2                                      ; trap: call stack exhausted

; fill (generational, x86-64-v3)
; (param i32) (param externref) (param i32)
; 18 instructions, 52 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
         0004  movq 0x10(%rdi), %r10
         0008  movq (%r10), %r10
         000b  addq $0x10, %r10
         000f  cmpq %rsp, %r10
         0012  ja 0x0032
         0018  movq %rsi, %rax
         001b  movq %rdx, %r9
@0071    001e  xorl %esi, %esi
         0020  movl %eax, %edx
         0022  movl %ecx, %r8d
         0025  movq %r9, %rcx
         0028  callq table_fill_ref
@0074    002d  movq %rbp, %rsp
         0030  popq %rbp
         0031  retq
       > 0032  ud2                                      ; trap: call stack exhausted
