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
; 58 instructions, 241 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
@00a2    0004  movq (%rdi), %r10
         0007  cmpl 0x8(%r10, %rsi), %edx               ; trap: null reference
         000c  jae 0x00ef
         0012  leal -0x10000(%rsi), %eax
         0018  cmpl $0x4000000, %eax
         001d  jb 0x006b
         0023  movq 0x8(%rdi), %rax
         0027  movl 0x1c(%rax), %edi
         002a  leal -0x10000(%rcx), %r8d
@00a2    0031  cmpl %edi, %r8d
         0034  ja 0x006b
         003a  movl 0x18(%rax), %edi
         003d  testl %edi, %edi
         003f  jne 0x0091
         0045  leal (%rsi, %rdx, 4), %edx
         0048  movl %ecx, 0xc(%r10, %rdx)               ; trap: corrupt GC heap
         004d  movq 0x30(%rax), %rcx
         0051  leaq 0xc(%rdx), %rsi
         0055  shrq $0x7, %rsi
         0059  movzbq (%rcx, %rsi), %rdi
         005e  testl %edi, %edi
         0060  je 0x0078
         0066  jmp 0x0073
       > 006b  leal (%rsi, %rdx, 4), %eax
@00a2    006e  movl %ecx, 0xc(%r10, %rax)               ; trap: corrupt GC heap
@00a5  > 0073  movq %rbp, %rsp
         0076  popq %rbp
         0077  retq
@00a2  > 0078  movq 0x40(%rax), %rax
         007c  movb $0x1, (%rcx, %rsi)
         0080  leaq 0xc(%rdx), %rcx
         0084  shrq $0xd, %rcx
@00a2    0088  movb $0x1, (%rax, %rcx)
         008c  jmp 0x0073
       > 0091  leal (%rsi, %rdx, 4), %edx
@00a2    0094  movl 0xc(%r10, %rdx), %esi               ; trap: corrupt GC heap
         0099  movq 0x20(%rax), %r9
         009d  leaq 0x1(%r9), %rdi
         00a1  movq %rdi, 0x20(%rax)
         00a5  movq 0x28(%rax), %rdi
         00a9  andq $0xfffff, %r9
         00b0  movl %esi, (%rdi, %r9, 8)
         00b4  leaq 0xc(%rdx), %rsi
@00a2    00b8  movl %esi, 0x4(%rdi, %r9, 8)
         00bd  movl %ecx, 0xc(%r10, %rdx)               ; trap: corrupt GC heap
         00c2  cmpl $0x4000000, %r8d
         00c9  jae 0x0073
         00cf  movq 0x30(%rax), %rcx
         00d3  movq 0x40(%rax), %rax
         00d7  movq %rsi, %rdx
         00da  shrq $0x7, %rdx
@00a2    00de  movb $0x1, (%rcx, %rdx)
         00e2  shrq $0xd, %rsi
         00e6  movb $0x1, (%rax, %rsi)
         00ea  jmp 0x0073
       > 00ef  ud2                                      ; trap: out of bounds array access

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
