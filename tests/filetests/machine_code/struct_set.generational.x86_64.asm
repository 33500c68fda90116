; packed (generational, x86-64-v3)
; (param (ref null $s)) (param i32)
; 7 instructions, 16 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
@0055    0004  movq (%rdi), %rdi
         0007  movb %dl, 0x8(%rdi, %rsi)                ; trap: null reference
@0059    000b  movq %rbp, %rsp
         000e  popq %rbp
         000f  retq

; number (generational, x86-64-v3)
; (param (ref null $s)) (param f64)
; 7 instructions, 18 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
@0060    0004  movq (%rdi), %rdi
         0007  vmovsd %xmm0, 0x10(%rdi, %rsi)           ; trap: null reference
@0064    000d  movq %rbp, %rsp
         0010  popq %rbp
         0011  retq

; reference (generational, x86-64-v3)
; (param (ref null $s)) (param anyref)
; 39 instructions, 159 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
@006b    0004  movq (%rdi), %rcx
         0007  movq 0x8(%rdi), %rax
         000b  movl 0x18(%rax), %edi
         000e  testl %edi, %edi
         0010  jne 0x005b
       > 0016  movl %edx, 0xc(%rcx, %rsi)               ; trap: null reference
         001a  leal -0x10000(%rdx), %ecx
         0020  cmpl $0x4000000, %ecx
         0026  jae 0x0056
         002c  leal -0x10000(%rsi), %ecx
@006b    0032  cmpl $0x4000000, %ecx
         0038  jb 0x0056
         003e  movq 0x30(%rax), %rcx
         0042  movq %rsi, %rdx
         0045  shrq $0x7, %rdx
         0049  movzbq (%rcx, %rdx), %rdi
         004e  testl %edi, %edi
         0050  je 0x008a
@006f  > 0056  movq %rbp, %rsp
         0059  popq %rbp
         005a  retq
@006b  > 005b  movl 0xc(%rcx, %rsi), %edi               ; trap: null reference
         005f  movq 0x20(%rax), %r8
         0063  leaq 0x1(%r8), %r9
         0067  movq %r9, 0x20(%rax)
         006b  movq 0x28(%rax), %r9
         006f  leaq 0xc(%rsi), %r10
         0073  shlq $0x20, %r10
         0077  orq %rdi, %r10
         007a  andq $0xfffff, %r8
         0081  movq %r10, (%r9, %r8, 8)
         0085  jmp 0x0016
       > 008a  movq 0x40(%rax), %rax
         008e  movb $0x1, (%rcx, %rdx)
         0092  shrq $0xd, %rsi
         0096  movb $0x1, (%rax, %rsi)
         009a  jmp 0x0056
