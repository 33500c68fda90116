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
; 79 instructions, 308 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
         0004  movq 0x10(%rdi), %r10
         0008  movq (%r10), %r10
         000b  addq $0x20, %r10
         000f  cmpq %rsp, %r10
         0012  ja 0x0130
         0018  subq $0x10, %rsp
         001c  movq %rbx, (%rsp)
@005c    0020  movl %esi, %eax
         0022  cmpq 0x38(%rdi), %rax
         0026  jae 0x0132
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
         005d  je 0x00a7
       > 0063  movl %edx, (%r11, %rax, 4)
         0067  movq %rbx, %rdx
         006a  rorxl $0x1, %edx, %eax
@005c    0070  testl %eax, %eax
         0072  jle 0x009a
         0078  movq (%rdi), %rcx
         007b  movl 0x4(%rcx, %rdx), %esi               ; trap: corrupt GC heap
         007f  leal -0x4(%rsi), %r8d
         0083  movl %r8d, 0x4(%rcx, %rdx)               ; trap: corrupt GC heap
         0088  movq 0x8(%rdi), %rax
         008c  andl 0x30(%rax), %r8d
         0090  cmpl $0x1, %r8d
         0094  je 0x00ed
@005e  > 009a  movq (%rsp), %rbx
         009e  addq $0x10, %rsp
         00a2  movq %rbp, %rsp
         00a5  popq %rbp
         00a6  retq
@005c  > 00a7  movq 0x8(%rdi), %r8
         00ab  movl 0x28(%r8), %r10d
         00af  movl 0x2c(%r8), %ecx
         00b3  cmpl %ecx, %r10d
         00b6  jb 0x00cb
         00bc  xorl %esi, %esi
@005c    00be  xorq %rcx, %rcx
         00c1  callq gc_collector
         00c6  jmp 0x0063
       > 00cb  leal 0x4(%r9), %ecx
         00cf  orl $0x2, %ecx
@005c    00d2  movl %ecx, 0x4(%rsi, %rdx)               ; trap: corrupt GC heap
         00d6  movq 0x20(%r8), %rcx
         00da  movl %r10d, %esi
         00dd  movl %edx, (%rcx, %rsi, 4)
         00e0  leal 0x1(%r10), %ecx
@005c    00e4  movl %ecx, 0x28(%r8)
         00e8  jmp 0x0063
       > 00ed  movl 0x28(%rax), %r8d
         00f1  movl 0x2c(%rax), %r9d
         00f5  cmpl %r9d, %r8d
         00f8  jb 0x010d
         00fe  xorl %esi, %esi
         0100  xorq %rcx, %rcx
@005c    0103  callq gc_collector
         0108  jmp 0x009a
       > 010d  addl $-0x4, %esi
         0113  orl $0x2, %esi
@005c    0116  movl %esi, 0x4(%rcx, %rdx)               ; trap: corrupt GC heap
         011a  movq 0x20(%rax), %rsi
         011e  movl %r8d, %edi
         0121  movl %edx, (%rsi, %rdi, 4)
         0124  leal 0x1(%r8), %edi
@005c    0128  movl %edi, 0x28(%rax)
         012b  jmp 0x009a
       > 0130  ud2                                      ; trap: call stack exhausted
@005c  > 0132  ud2                                      ; trap: undefined element: out of bounds table access

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
