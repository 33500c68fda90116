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
; 51 instructions, 212 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
@006b    0004  movq (%rdi), %rcx
         0007  leal -0x10000(%rsi), %eax
         000d  cmpl $0x4000000, %eax
         0012  jb 0x005d
         0018  movq 0x8(%rdi), %rax
         001c  movl 0x1c(%rax), %r8d
         0020  leal -0x10000(%rdx), %edi
@006b    0026  cmpl %r8d, %edi
         0029  ja 0x005d
         002f  movl 0x18(%rax), %r8d
         0033  testl %r8d, %r8d
         0036  jne 0x007b
         003c  movl %edx, 0xc(%rcx, %rsi)               ; trap: null reference
         0040  movq 0x30(%rax), %rcx
         0044  movq %rsi, %rdx
         0047  shrq $0x7, %rdx
         004b  movzbq (%rcx, %rdx), %rdi
         0050  testl %edi, %edi
         0052  je 0x0066
         0058  jmp 0x0061
@006b  > 005d  movl %edx, 0xc(%rcx, %rsi)               ; trap: null reference
@006f  > 0061  movq %rbp, %rsp
         0064  popq %rbp
         0065  retq
@006b  > 0066  movq 0x40(%rax), %rax
         006a  movb $0x1, (%rcx, %rdx)
         006e  shrq $0xd, %rsi
         0072  movb $0x1, (%rax, %rsi)
         0076  jmp 0x0061
       > 007b  movl 0xc(%rcx, %rsi), %r9d               ; trap: null reference
         0080  movq 0x20(%rax), %r8
         0084  leaq 0x1(%r8), %r10
         0088  movq %r10, 0x20(%rax)
         008c  movq 0x28(%rax), %r10
         0090  andq $0xfffff, %r8
         0097  movl %r9d, (%r10, %r8, 8)
         009b  leaq 0xc(%rsi), %r9
         009f  movl %r9d, 0x4(%r10, %r8, 8)
         00a4  movl %edx, 0xc(%rcx, %rsi)               ; trap: null reference
         00a8  cmpl $0x4000000, %edi
         00ae  jae 0x0061
         00b4  movq 0x30(%rax), %rcx
         00b8  movq 0x40(%rax), %rax
         00bc  movq %rsi, %rdx
         00bf  shrq $0x7, %rdx
@006b    00c3  movb $0x1, (%rcx, %rdx)
         00c7  shrq $0xd, %rsi
@006b    00cb  movb $0x1, (%rax, %rsi)
         00cf  jmp 0x0061
