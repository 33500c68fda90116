; sum (generational, x86-64-v3)
; (param $from i32) (param $to i32) (result i64) (local 2 $sum)
; 15 instructions, 49 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
@0028    0004  movq 0x30(%rdi), %rcx
         0008  xorq %rax, %rax
         000b  movq 0x20(%rdi), %rdi
@002e  > 000f  movzbq (%rdi), %r8                       ; trap: interrupt
         0013  movl %esi, %r8d
         0016  movq 0x8(%rcx, %r8), %r8                 ; trap: out of bounds memory access
         001b  addl $0x8, %esi
@0031    0021  addq %r8, %rax
@0040    0024  cmpl %edx, %esi
         0026  jb 0x000f
@0045    002c  movq %rbp, %rsp
         002f  popq %rbp
         0030  retq

; grow (generational, x86-64-v3)
; (param i32) (result i32)
; 17 instructions, 52 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
         0004  movq 0x10(%rdi), %r10
         0008  movq (%r10), %r10
         000b  addq $0x10, %r10
         000f  cmpq %rsp, %r10
         0012  ja 0x0032
         0018  movq %rsi, %r10
@004a    001b  xorl %esi, %esi
         001d  movl %r10d, %edx
         0020  callq memory_grow
         0025  movq 0x10(%rdi), %r8
         0029  movq 0x20(%r8), %rax
@004c    002d  movq %rbp, %rsp
         0030  popq %rbp
         0031  retq
       > 0032  ud2                                      ; trap: call stack exhausted

; far (generational, x86-64-v3)
; (param i32) (result i32)
; 15 instructions, 51 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
@0051    0004  movq 0x30(%rdi), %r9
         0008  movl %esi, %r10d
         000b  movl $-0x7fffffff, %r11d
         0011  addq %r10, %r11
@0051    0014  cmpq 0x38(%rdi), %r11
         0018  ja 0x0031
         001e  movl $-0x80000000, %r11d
         0024  addq %r10, %r11
         0027  movzbq (%r9, %r11), %rax                 ; trap: out of bounds memory access
@0058    002c  movq %rbp, %rsp
         002f  popq %rbp
         0030  retq
@0051  > 0031  ud2                                      ; trap: out of bounds memory access
