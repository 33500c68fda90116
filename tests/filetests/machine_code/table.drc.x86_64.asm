; get (drc, x86-64-v3)
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

; set (drc, x86-64-v3)
; (param i32) (param externref)
; 78 instructions, 301 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
         0004  movq 0x10(%rdi), %r10
         0008  movq (%r10), %r10
         000b  addq $0x20, %r10
         000f  cmpq %rsp, %r10
         0012  ja 0x0129
         0018  subq $0x10, %rsp
         001c  movq %rbx, (%rsp)
@005c    0020  movl %esi, %eax
         0022  cmpq 0x38(%rdi), %rax
         0026  jae 0x012b
         002c  movq 0x30(%rdi), %r11
         0030  movl (%r11, %rax, 4), %ecx
         0034  movq %rcx, %rbx
         0037  rorxl $0x1, %edx, %ecx
         003d  testl %ecx, %ecx
         003f  jle 0x0063
         0045  movq (%rdi), %rsi
         0048  movl 0x4(%rsi, %rdx), %r9d               ; trap: corrupt GC heap
         004d  leal 0x4(%r9), %r8d
         0051  movl %r8d, 0x4(%rsi, %rdx)               ; trap: corrupt GC heap
         0056  testl $0x3, %r8d
         005d  je 0x009c
       > 0063  movl %edx, (%r11, %rax, 4)
         0067  movq %rbx, %rdx
         006a  rorxl $0x1, %edx, %eax
@005c    0070  testl %eax, %eax
         0072  jle 0x008f
         0078  movq (%rdi), %rax
         007b  movl 0x4(%rax, %rdx), %esi               ; trap: corrupt GC heap
         007f  leal -0x4(%rsi), %ecx
         0082  movl %ecx, 0x4(%rax, %rdx)               ; trap: corrupt GC heap
         0086  cmpl $0x5, %esi
         0089  je 0x00e2
@005e  > 008f  movq (%rsp), %rbx
         0093  addq $0x10, %rsp
         0097  movq %rbp, %rsp
         009a  popq %rbp
         009b  retq
@005c  > 009c  movq 0x8(%rdi), %r8
         00a0  movl 0x28(%r8), %r10d
         00a4  movl 0x2c(%r8), %ecx
         00a8  cmpl %ecx, %r10d
         00ab  jb 0x00c0
         00b1  xorl %esi, %esi
@005c    00b3  xorq %rcx, %rcx
         00b6  callq gc_collector
         00bb  jmp 0x0063
       > 00c0  leal 0x4(%r9), %ecx
         00c4  orl $0x2, %ecx
@005c    00c7  movl %ecx, 0x4(%rsi, %rdx)               ; trap: corrupt GC heap
         00cb  movq 0x20(%r8), %rcx
         00cf  movl %r10d, %esi
         00d2  movl %edx, (%rcx, %rsi, 4)
         00d5  leal 0x1(%r10), %ecx
@005c    00d9  movl %ecx, 0x28(%r8)
         00dd  jmp 0x0063
       > 00e2  movq 0x8(%rdi), %rcx
         00e6  movl 0x28(%rcx), %r8d
         00ea  movl 0x2c(%rcx), %r9d
         00ee  cmpl %r9d, %r8d
         00f1  jb 0x0106
         00f7  xorl %esi, %esi
         00f9  xorq %rcx, %rcx
@005c    00fc  callq gc_collector
         0101  jmp 0x008f
       > 0106  addl $-0x4, %esi
         010c  orl $0x2, %esi
@005c    010f  movl %esi, 0x4(%rax, %rdx)               ; trap: corrupt GC heap
         0113  movq 0x20(%rcx), %rsi
         0117  movl %r8d, %edi
         011a  movl %edx, (%rsi, %rdi, 4)
         011d  leal 0x1(%r8), %esi
@005c    0121  movl %esi, 0x28(%rcx)
         0124  jmp 0x008f
       > 0129  ud2                                      ; trap: call stack exhausted
@005c  > 012b  ud2                                      ; trap: undefined element: out of bounds table access

; grow (drc, x86-64-v3)
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

; fill (drc, x86-64-v3)
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
