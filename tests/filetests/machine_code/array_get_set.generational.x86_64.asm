; len (generational, x86-64-v3)
; (param arrayref) (result i32)
; 7 instructions, 16 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
@0079    0004  movq (%rdi), %rdi
         0007  movl 0x8(%rdi, %rsi), %eax               ; trap: null reference
@007b    000b  movq %rbp, %rsp
         000e  popq %rbp
         000f  retq

; signed (generational, x86-64-v3)
; (param (ref null $shorts)) (param i32) (result i32)
; 12 instructions, 38 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
         0004  movq %rsi, %r8
@0082    0007  movq (%rdi), %rsi
         000a  cmpl 0x8(%rsi, %r8), %edx                ; trap: null reference
         000f  jae 0x0024
         0015  leal (%r8, %rdx, 2), %r8d
         0019  movswq 0xc(%rsi, %r8), %rax              ; trap: corrupt GC heap
@0085    001f  movq %rbp, %rsp
         0022  popq %rbp
         0023  retq
@0082  > 0024  ud2                                      ; trap: out of bounds array access

; long (generational, x86-64-v3)
; (param (ref $longs)) (param i32) (result i64)
; 12 instructions, 37 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
         0004  movq %rsi, %r8
@008c    0007  movq (%rdi), %rsi
         000a  cmpl 0x8(%rsi, %r8), %edx                ; trap: null reference
         000f  jae 0x0023
         0015  leal (%r8, %rdx, 8), %r8d
         0019  movq 0x10(%rsi, %r8), %rax               ; trap: corrupt GC heap
@008f    001e  movq %rbp, %rsp
         0021  popq %rbp
         0022  retq
@008c  > 0023  ud2                                      ; trap: out of bounds array access

; get (generational, x86-64-v3)
; (param (ref $refs)) (param i32) (result anyref)
; 12 instructions, 37 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
         0004  movq %rsi, %r8
@0096    0007  movq (%rdi), %rsi
         000a  cmpl 0x8(%rsi, %r8), %edx                ; trap: null reference
         000f  jae 0x0023
         0015  leal (%r8, %rdx, 4), %r8d
         0019  movl 0xc(%rsi, %r8), %eax                ; trap: corrupt GC heap
@0099    001e  movq %rbp, %rsp
         0021  popq %rbp
         0022  retq
@0096  > 0023  ud2                                      ; trap: out of bounds array access

; set (generational, x86-64-v3)
; (param (ref $refs)) (param i32) (param anyref)
; 55 instructions, 227 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
         0004  movq 0x10(%rdi), %r10
         0008  movq (%r10), %r10
         000b  addq $0x10, %r10
         000f  cmpq %rsp, %r10
         0012  ja 0x00df
         0018  subq $0x10, %rsp
         001c  movq %rbx, (%rsp)
@00a2    0020  movq (%rdi), %rbx
         0023  cmpl 0x8(%rbx, %rsi), %edx               ; trap: null reference
         0027  jae 0x00e1
         002d  movq 0x8(%rdi), %rax
         0031  movl 0x18(%rax), %edi
         0034  testl %edi, %edi
         0036  jne 0x0093
       > 003c  leal (%rsi, %rdx, 4), %r8d
@00a2    0040  movl %ecx, 0xc(%rbx, %r8)                ; trap: corrupt GC heap
         0045  addl $-0x10000, %ecx
         004b  cmpl $0x4000000, %ecx
         0051  jae 0x0086
         0057  leal -0xfff4(%rsi, %rdx, 4), %ecx
@00a2    005e  cmpl $0x4000000, %ecx
         0064  jb 0x0086
         006a  movq 0x30(%rax), %rdx
         006e  leaq 0xc(%r8), %rcx
         0072  movq %rcx, %rsi
@00a2    0075  shrq $0x7, %rsi
         0079  movzbq (%rdx, %rsi), %rdi
         007e  testl %edi, %edi
         0080  je 0x00ca
@00a5  > 0086  movq (%rsp), %rbx
         008a  addq $0x10, %rsp
         008e  movq %rbp, %rsp
         0091  popq %rbp
         0092  retq
@00a2  > 0093  leal (%rsi, %rdx, 4), %r10d
         0097  movl 0xc(%rbx, %r10), %r8d               ; trap: corrupt GC heap
         009c  movq 0x20(%rax), %r9
         00a0  leaq 0x1(%r9), %rdi
         00a4  movq %rdi, 0x20(%rax)
         00a8  movq 0x28(%rax), %r11
         00ac  addq $0xc, %r10
         00b3  shlq $0x20, %r10
         00b7  orq %r8, %r10
         00ba  andq $0xfffff, %r9
         00c1  movq %r10, (%r11, %r9, 8)
         00c5  jmp 0x003c
       > 00ca  movq 0x40(%rax), %rax
         00ce  movb $0x1, (%rdx, %rsi)
         00d2  shrq $0xd, %rcx
         00d6  movb $0x1, (%rax, %rcx)
         00da  jmp 0x0086
       > 00df  ud2                                      ; trap: call stack exhausted
@00a2  > 00e1  ud2                                      ; trap: out of bounds array access

; store (generational, x86-64-v3)
; (param (ref null $shorts)) (param i32) (param i32)
; 12 instructions, 38 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
         0004  movq %rsi, %r8
@00ae    0007  movq (%rdi), %rsi
         000a  cmpl 0x8(%rsi, %r8), %edx                ; trap: null reference
         000f  jae 0x0024
         0015  leal (%r8, %rdx, 2), %r8d
         0019  movw %cx, 0xc(%rsi, %r8)                 ; trap: corrupt GC heap
@00b1    001f  movq %rbp, %rsp
         0022  popq %rbp
         0023  retq
@00ae  > 0024  ud2                                      ; trap: out of bounds array access
