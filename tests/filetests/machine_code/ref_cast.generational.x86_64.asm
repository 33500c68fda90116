; open (generational, x86-64-v3)
; (param anyref) (result (ref $open))
; 24 instructions, 91 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
@006b    0004  rorxl $0x1, %esi, %r10d
         000a  testl %r10d, %r10d
         000d  jle 0x0057
         0013  movq (%rdi), %rax
         0016  movl (%rax, %rsi), %r8d                  ; trap: corrupt GC heap
         001a  cmpl $0x38000000, %r8d
         0021  jne 0x002f
         0027  movq %rsi, %rax
@006e  > 002a  movq %rbp, %rsp
         002d  popq %rbp
         002e  retq
@006b  > 002f  movq 0x10(%rdi), %rax
         0033  movq 0x28(%rax), %rax
         0037  andl $0xfffff, %r8d
         003e  shlq $0x5, %r8
         0042  movl (%rax, %r8), %eax
         0046  cmpl $0x1, %eax
         0049  jne 0x0059
         004f  movq %rsi, %rax
         0052  jmp 0x002a
       > 0057  ud2                                      ; trap: cast failure
       > 0059  ud2                                      ; trap: cast failure

; final (generational, x86-64-v3)
; (param (ref $open)) (result (ref $final))
; 11 instructions, 32 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
@0073    0004  movq (%rdi), %rdi
         0007  movl (%rdi, %rsi), %edi                  ; trap: corrupt GC heap
         000a  cmpl $0x38000001, %edi
         0010  jne 0x001e
         0016  movq %rsi, %rax
@0076    0019  movq %rbp, %rsp
         001c  popq %rbp
         001d  retq
@0073  > 001e  ud2                                      ; trap: cast failure

; on_cast (generational, x86-64-v3)
; (param anyref) (result i32)
; 17 instructions, 56 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
@007e    0004  rorxl $0x1, %esi, %r8d
         000a  testl %r8d, %r8d
         000d  jle 0x0031
         0013  movq (%rdi), %r11
         0016  movl (%r11, %rsi), %r11d                 ; trap: corrupt GC heap
         001a  cmpl $0x38000001, %r11d
         0021  jne 0x0031
         0027  movl $0x1, %eax
@008c    002c  movq %rbp, %rsp
         002f  popq %rbp
         0030  retq
       > 0031  xorl %eax, %eax
@0087    0033  movq %rbp, %rsp
         0036  popq %rbp
         0037  retq

; on_cast_fail (generational, x86-64-v3)
; (param (ref $open)) (result i32)
; 14 instructions, 39 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
@0094    0004  movq (%rdi), %rdi
         0007  movl (%rdi, %rsi), %edi                  ; trap: corrupt GC heap
         000a  cmpl $0x38000001, %edi
         0010  je 0x001d
@00a0    0016  xorl %eax, %eax
@00a2    0018  movq %rbp, %rsp
         001b  popq %rbp
         001c  retq
@0094  > 001d  movl $0x1, %eax
@009d    0022  movq %rbp, %rsp
         0025  popq %rbp
         0026  retq
