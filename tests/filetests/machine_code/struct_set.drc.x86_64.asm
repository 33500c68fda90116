; packed (drc, x86-64-v3)
; (param (ref null $s)) (param i32)
; 7 instructions, 16 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
@0055    0004  movq (%rdi), %rdi
         0007  movb %dl, 0x8(%rdi, %rsi)                ; trap: null reference
@0059    000b  movq %rbp, %rsp
         000e  popq %rbp
         000f  retq

; number (drc, x86-64-v3)
; (param (ref null $s)) (param f64)
; 7 instructions, 18 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
@0060    0004  movq (%rdi), %rdi
         0007  vmovsd %xmm0, 0x10(%rdi, %rsi)           ; trap: null reference
@0064    000d  movq %rbp, %rsp
         0010  popq %rbp
         0011  retq

; reference (drc, x86-64-v3)
; (param (ref null $s)) (param anyref)
; 80 instructions, 309 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
         0004  movq 0x10(%rdi), %r10
         0008  movq (%r10), %r10
         000b  addq $0x10, %r10
         000f  cmpq %rsp, %r10
         0012  ja 0x0133
@006b    0018  movq (%rdi), %rax
         001b  movl 0x4(%rax, %rsi), %ecx               ; trap: null reference
         001f  testl $0x1, %ecx
         0025  jne 0x0034
         002b  movl %edx, 0xc(%rax, %rsi)               ; trap: null reference
         002f  jmp 0x009c
       > 0034  movl 0xc(%rax, %rsi), %ecx               ; trap: null reference
         0038  movq %rcx, %r10
         003b  movq %rsi, %r11
         003e  rorxl $0x1, %edx, %ecx
@006b    0044  testl %ecx, %ecx
         0046  jg 0x0054
         004c  movq %r11, %rsi
         004f  jmp 0x0070
@006b  > 0054  movl 0x4(%rax, %rdx), %r8d               ; trap: corrupt GC heap
         0059  leal 0x4(%r8), %ecx
         005d  movl %ecx, 0x4(%rax, %rdx)               ; trap: corrupt GC heap
         0061  testl $0x3, %ecx
         0067  je 0x00a1
         006d  movq %r11, %rsi
@006b  > 0070  movl %edx, 0xc(%rax, %rsi)               ; trap: null reference
         0074  movq %r10, %rdx
         0077  rorxl $0x1, %edx, %eax
@006b    007d  testl %eax, %eax
         007f  jle 0x009c
         0085  movq (%rdi), %rax
         0088  movl 0x4(%rax, %rdx), %esi               ; trap: corrupt GC heap
         008c  leal -0x4(%rsi), %ecx
         008f  movl %ecx, 0x4(%rax, %rdx)               ; trap: corrupt GC heap
         0093  cmpl $0x5, %esi
         0096  je 0x00ec
@006f  > 009c  movq %rbp, %rsp
         009f  popq %rbp
         00a0  retq
@006b  > 00a1  movq 0x8(%rdi), %rcx
         00a5  movl 0x28(%rcx), %r9d
         00a9  movl 0x2c(%rcx), %esi
         00ac  cmpl %esi, %r9d
         00af  jb 0x00c7
         00b5  xorl %esi, %esi
@006b    00b7  xorq %rcx, %rcx
         00ba  callq gc_collector
         00bf  movq %r11, %rsi
         00c2  jmp 0x0070
       > 00c7  leal 0x4(%r8), %esi
         00cb  orl $0x2, %esi
@006b    00ce  movl %esi, 0x4(%rax, %rdx)               ; trap: corrupt GC heap
         00d2  movq 0x20(%rcx), %rsi
         00d6  movl %r9d, %r8d
         00d9  movl %edx, (%rsi, %r8, 4)
         00dd  leal 0x1(%r9), %esi
@006b    00e1  movl %esi, 0x28(%rcx)
         00e4  movq %r11, %rsi
         00e7  jmp 0x0070
       > 00ec  movq 0x8(%rdi), %rcx
         00f0  movl 0x28(%rcx), %r8d
         00f4  movl 0x2c(%rcx), %r9d
         00f8  cmpl %r9d, %r8d
         00fb  jb 0x0110
         0101  xorl %esi, %esi
         0103  xorq %rcx, %rcx
@006b    0106  callq gc_collector
         010b  jmp 0x009c
       > 0110  addl $-0x4, %esi
         0116  orl $0x2, %esi
@006b    0119  movl %esi, 0x4(%rax, %rdx)               ; trap: corrupt GC heap
         011d  movq 0x20(%rcx), %rsi
         0121  movl %r8d, %edi
         0124  movl %edx, (%rsi, %rdi, 4)
         0127  leal 0x1(%r8), %edi
@006b    012b  movl %edi, 0x28(%rcx)
         012e  jmp 0x009c
       > 0133  ud2                                      ; trap: call stack exhausted
