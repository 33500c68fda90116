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
; 81 instructions, 321 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
         0004  movq 0x10(%rdi), %r10
         0008  movq (%r10), %r10
         000b  addq $0x10, %r10
         000f  cmpq %rsp, %r10
         0012  ja 0x013f
@006b    0018  movq (%rdi), %rax
         001b  movl 0x4(%rax, %rsi), %ecx               ; trap: null reference
         001f  testl $0x1, %ecx
         0025  jne 0x0034
         002b  movl %edx, 0xc(%rax, %rsi)               ; trap: null reference
         002f  jmp 0x00a7
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
         0067  je 0x00ac
         006d  movq %r11, %rsi
@006b  > 0070  movl %edx, 0xc(%rax, %rsi)               ; trap: null reference
         0074  movq %r10, %rdx
         0077  rorxl $0x1, %edx, %eax
@006b    007d  testl %eax, %eax
         007f  jle 0x00a7
         0085  movq (%rdi), %rcx
         0088  movl 0x4(%rcx, %rdx), %esi               ; trap: corrupt GC heap
         008c  leal -0x4(%rsi), %r8d
         0090  movl %r8d, 0x4(%rcx, %rdx)               ; trap: corrupt GC heap
         0095  movq 0x8(%rdi), %rax
         0099  andl 0x30(%rax), %r8d
         009d  cmpl $0x1, %r8d
         00a1  je 0x00f7
@006f  > 00a7  movq %rbp, %rsp
         00aa  popq %rbp
         00ab  retq
@006b  > 00ac  movq 0x8(%rdi), %rcx
         00b0  movl 0x28(%rcx), %r9d
         00b4  movl 0x2c(%rcx), %esi
         00b7  cmpl %esi, %r9d
         00ba  jb 0x00d2
         00c0  xorl %esi, %esi
@006b    00c2  xorq %rcx, %rcx
         00c5  callq gc_collector
         00ca  movq %r11, %rsi
         00cd  jmp 0x0070
       > 00d2  leal 0x4(%r8), %esi
         00d6  orl $0x2, %esi
@006b    00d9  movl %esi, 0x4(%rax, %rdx)               ; trap: corrupt GC heap
         00dd  movq 0x20(%rcx), %rsi
         00e1  movl %r9d, %r8d
         00e4  movl %edx, (%rsi, %r8, 4)
         00e8  leal 0x1(%r9), %esi
@006b    00ec  movl %esi, 0x28(%rcx)
         00ef  movq %r11, %rsi
         00f2  jmp 0x0070
       > 00f7  movl 0x28(%rax), %r8d
         00fb  movl 0x2c(%rax), %r9d
         00ff  cmpl %r9d, %r8d
         0102  jb 0x0117
         0108  xorl %esi, %esi
         010a  xorq %rcx, %rcx
@006b    010d  callq gc_collector
         0112  jmp 0x00a7
       > 0117  addl $-0x4, %esi
         011d  orl $0x2, %esi
@006b    0120  movl %esi, 0x4(%rcx, %rdx)               ; trap: corrupt GC heap
         0124  movq 0x20(%rax), %rdi
         0128  movl %r8d, %r9d
         012b  movl %edx, (%rdi, %r9, 4)
         012f  addl $0x1, %r8d
@006b    0136  movl %r8d, 0x28(%rax)
         013a  jmp 0x00a7
       > 013f  ud2                                      ; trap: call stack exhausted
