; filled (generational, x86-64-v3)
; (param i32) (param i32) (result (ref $bytes))
; 44 instructions, 171 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
         0004  movq 0x10(%rdi), %r10
         0008  movq (%r10), %r10
         000b  addq $0x10, %r10
         000f  cmpq %rsp, %r10
         0012  ja 0x00a9
         0018  movq %rsi, %r10
@0070    001b  movq 0x8(%rdi), %rcx
         001f  movl 0x10(%rcx), %eax
         0022  movl 0x14(%rcx), %r8d
         0026  movl %edx, %r9d
         0029  addq $0x13, %r9
         0030  andq $-0x8, %r9
         0034  addq %rax, %r9
         0037  cmpq %r8, %r9
         003a  ja 0x0092
         0040  movl %r9d, 0x10(%rcx)
         0044  movq (%rdi), %rcx
         0047  movq $0x58000000, (%rcx, %rax)
         004f  movl %edx, 0x8(%rcx, %rax)
       > 0053  movq (%rdi), %rcx
         0056  xorl %r8d, %r8d
         0059  movq 0x20(%rdi), %rdi
@0070    005d  testl %edx, %edx
         005f  je 0x008d
       > 0065  movzbq (%rdi), %rsi                      ; trap: interrupt
         0069  leal (%rax, %r8), %r9d
         006d  movq %r10, %rsi
         0070  movb %sil, 0xc(%rcx, %r9)
         0075  addl $0x1, %r8d
@0070    007c  cmpl %edx, %r8d
         007f  je 0x008d
         0085  movq %rsi, %r10
         0088  jmp 0x0065
@0073  > 008d  movq %rbp, %rsp
         0090  popq %rbp
         0091  retq
@0070  > 0092  movl $0x58000000, %esi
         0097  callq gc_alloc_array
         009c  movq 0x10(%rdi), %rax
         00a0  movq 0x20(%rax), %rax
         00a4  jmp 0x0053
       > 00a9  ud2                                      ; trap: call stack exhausted

; default (generational, x86-64-v3)
; (param i32) (result (ref $refs))
; 33 instructions, 118 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
         0004  movq 0x10(%rdi), %r10
         0008  movq (%r10), %r10
         000b  addq $0x10, %r10
         000f  cmpq %rsp, %r10
         0012  ja 0x0074
@0078    0018  movq 0x8(%rdi), %rcx
         001c  movl 0x10(%rcx), %eax
         001f  movl 0x14(%rcx), %edx
         0022  movl %esi, %r8d
         0025  movq %rsi, %r9
         0028  shlq $0x2, %r8
         002c  leaq 0x13(%r8), %rsi
         0030  andq $-0x8, %rsi
         0034  addq %rax, %rsi
         0037  cmpq %rdx, %rsi
         003a  ja 0x005a
         0040  movq %r9, %rdx
@0078    0043  movl %esi, 0x10(%rcx)
         0046  movq (%rdi), %rcx
         0049  movq $0x58000001, (%rcx, %rax)
         0051  movl %edx, 0x8(%rcx, %rax)
@007b  > 0055  movq %rbp, %rsp
         0058  popq %rbp
         0059  retq
@0078  > 005a  movl $0x58000001, %esi
         005f  movq %r9, %rdx
         0062  callq gc_alloc_array
         0067  movq 0x10(%rdi), %rax
         006b  movq 0x20(%rax), %rax
         006f  jmp 0x0055
       > 0074  ud2                                      ; trap: call stack exhausted

; refs (generational, x86-64-v3)
; (param anyref) (param i32) (result (ref $refs))
; 71 instructions, 309 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
         0004  movq 0x10(%rdi), %r10
         0008  movq (%r10), %r10
         000b  addq $0x40, %r10
         000f  cmpq %rsp, %r10
         0012  ja 0x0133
         0018  subq $0x30, %rsp
         001c  movq %rbx, 0x10(%rsp)
         0021  movq %r12, 0x18(%rsp)
         0026  movq %r13, 0x20(%rsp)
@0082    002b  movq 0x8(%rdi), %rcx
         002f  movl 0x10(%rcx), %eax
         0032  movl 0x14(%rcx), %r8d
         0036  movl %edx, %r9d
         0039  shlq $0x2, %r9
         003d  addq $0x13, %r9
         0044  andq $-0x8, %r9
         0048  addq %rax, %r9
         004b  cmpq %r8, %r9
         004e  ja 0x00c2
         0054  movl %r9d, 0x10(%rcx)
         0058  movq (%rdi), %rcx
         005b  movq $0x58000001, (%rcx, %rax)
         0063  movl %edx, 0x8(%rcx, %rax)
       > 0067  movq (%rdi), %rcx
         006a  xorl %r8d, %r8d
         006d  movq 0x20(%rdi), %r9
@0082    0071  leal -0x10000(%rax), %r10d
         0078  testl %edx, %edx
         007a  je 0x00aa
       > 0080  movzbq (%r9), %r11                       ; trap: interrupt
         0084  leal (%rax, %r8, 4), %r11d
         0088  movl %esi, 0xc(%rcx, %r11)
         008d  cmpl $0x4000000, %r10d
         0094  jae 0x00e1
       > 009a  addl $0x1, %r8d
@0082    00a1  cmpl %edx, %r8d
         00a4  jne 0x0080
@0085  > 00aa  movq 0x10(%rsp), %rbx
         00af  movq 0x18(%rsp), %r12
         00b4  movq 0x20(%rsp), %r13
         00b9  addq $0x30, %rsp
         00bd  movq %rbp, %rsp
         00c0  popq %rbp
         00c1  retq
@0082  > 00c2  movq %rsi, (%rsp)
         00c6  movl $0x58000001, %esi
         00cb  callq gc_alloc_array
               ; frame of 48 bytes, references at (%rsp)
         00d0  movq 0x10(%rdi), %rax
         00d4  movq 0x20(%rax), %rax
         00d8  movq (%rsp), %rsi
         00dc  jmp 0x0067
       > 00e1  leal -0x10000(%rsi), %ebx
@0082    00e7  cmpl $0x4000000, %ebx
         00ed  jb 0x0106
         00f3  movq 0x8(%rdi), %rbx
         00f7  movl 0x18(%rbx), %ebx
         00fa  testl $0x2, %ebx
         0100  je 0x009a
       > 0106  movq 0x8(%rdi), %rbx
         010a  movq 0x30(%rbx), %r12
         010e  movq 0x40(%rbx), %rbx
         0112  addq $0xc, %r11
         0119  movq %r11, %r13
         011c  shrq $0x7, %r13
@0082    0120  movb $0x1, (%r12, %r13)
         0125  shrq $0xd, %r11
@0082    0129  movb $0x1, (%rbx, %r11)
         012e  jmp 0x009a
       > 0133  ud2                                      ; trap: call stack exhausted

; fixed (generational, x86-64-v3)
; (param anyref) (result (ref $refs))
; 34 instructions, 131 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
         0004  movq 0x10(%rdi), %r10
         0008  movq (%r10), %r10
         000b  addq $0x20, %r10
         000f  cmpq %rsp, %r10
         0012  ja 0x0081
         0018  subq $0x10, %rsp
@008c    001c  movq 0x8(%rdi), %rcx
         0020  movl 0x10(%rcx), %eax
         0023  movl 0x14(%rcx), %edx
         0026  leaq 0x18(%rax), %r8
         002a  cmpq %rdx, %r8
         002d  ja 0x005d
         0033  leaq 0x18(%rax), %rdx
@008c    0037  movl %edx, 0x10(%rcx)
         003a  movq (%rdi), %rcx
         003d  movq $0x58000001, (%rcx, %rax)
         0045  movl $0x2, 0x8(%rcx, %rax)
       > 004d  movq (%rdi), %rcx
         0050  movl %esi, 0xc(%rcx, %rax)
@0090    0054  addq $0x10, %rsp
         0058  movq %rbp, %rsp
         005b  popq %rbp
         005c  retq
@008c  > 005d  movq %rsi, (%rsp)
         0061  movl $0x58000001, %esi
         0066  movl $0x2, %edx
         006b  callq gc_alloc_array
               ; frame of 16 bytes, references at (%rsp)
         0070  movq 0x10(%rdi), %rax
         0074  movq 0x20(%rax), %rax
         0078  movq (%rsp), %rsi
         007c  jmp 0x004d
       > 0081  ud2                                      ; trap: call stack exhausted

; data (generational, x86-64-v3)
; (result (ref $bytes))
; 35 instructions, 156 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
         0004  movq 0x10(%rdi), %r10
         0008  movq (%r10), %r10
         000b  addq $0x10, %r10
         000f  cmpq %rsp, %r10
         0012  ja 0x009a
@0097    0018  movq 0x8(%rdi), %rcx
         001c  movl 0x10(%rcx), %eax
         001f  movl 0x14(%rcx), %edx
         0022  leaq 0x28(%rax), %rsi
         0026  cmpq %rdx, %rsi
         0029  ja 0x007e
         002f  leaq 0x28(%rax), %rdx
@0097    0033  movl %edx, 0x10(%rcx)
         0036  movq (%rdi), %rcx
         0039  movq $0x58000000, (%rcx, %rax)
         0041  movl $0x15, 0x8(%rcx, %rax)
       > 0049  movq (%rdi), %rcx
         004c  movabsq $0x6765732061746164, %rdx
         0056  movq %rdx, 0xc(%rcx, %rax)
         005b  movabsq $0x61687420746e656d, %rdx
         0065  movq %rdx, 0x14(%rcx, %rax)
         006a  movabsq $0x2073692074616874, %rdx
         0074  movq %rdx, 0x19(%rcx, %rax)
@009b    0079  movq %rbp, %rsp
         007c  popq %rbp
         007d  retq
@0097  > 007e  movl $0x58000000, %esi
@0095    0083  movl $0x15, %edx
@0097    0088  callq gc_alloc_array
         008d  movq 0x10(%rdi), %rax
         0091  movq 0x20(%rax), %rax
         0095  jmp 0x0049
       > 009a  ud2                                      ; trap: call stack exhausted
