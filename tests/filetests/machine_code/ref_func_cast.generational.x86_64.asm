; open (generational, x86-64-v3)
; (param funcref) (result i32)
; 21 instructions, 74 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
@003e    0004  xorl %r8d, %r8d
         0007  testq %rsi, %rsi
         000a  je 0x0021
         0010  movl 0x10(%rsi), %eax
         0013  movl $0x1, %r8d
         0019  testl %eax, %eax
         001b  jne 0x002a
       > 0021  movzbl %r8b, %eax
@0041    0025  movq %rbp, %rsp
         0028  popq %rbp
         0029  retq
@003e  > 002a  movq 0x10(%rdi), %rcx
         002e  movq 0x28(%rcx), %rcx
         0032  andl $0xfffff, %eax
         0037  shlq $0x5, %rax
         003b  movl (%rcx, %rax), %eax
         003e  cmpl $0x1, %eax
         0041  seteb %r8b
         0045  jmp 0x0021

; final (generational, x86-64-v3)
; (param funcref) (result (ref null $final))
; 14 instructions, 43 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
@0046    0004  testq %rsi, %rsi
         0007  jne 0x0015
         000d  movq %rsi, %rax
         0010  jmp 0x0024
@0046  > 0015  movl 0x10(%rsi), %edi
         0018  cmpl $0x1, %edi
         001b  jne 0x0029
         0021  movq %rsi, %rax
@0049  > 0024  movq %rbp, %rsp
         0027  popq %rbp
         0028  retq
@0046  > 0029  ud2                                      ; trap: cast failure
