; scale (generational, x86-64-v3)
; (param $at i32) (param $count i32) (param $factor f32) (local 3 $factors)
; 19 instructions, 96 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
@0077    0004  movq 0x30(%rdi), %rax
         0008  movq 0x20(%rdi), %rcx
@0073    000c  vbroadcastss %xmm0, %xmm0
@0086    0011  vmovdqu 0x0050, %xmm1
@007d  > 0019  movzbq (%rcx), %rdi                      ; trap: interrupt
         001d  movl %esi, %edi
         001f  vmovdqu (%rax, %rdi), %xmm2              ; trap: out of bounds memory access
@0083    0024  vmulps %xmm0, %xmm2, %xmm2
@0098    0028  vaddps %xmm1, %xmm2, %xmm2
@009b    002c  vmovdqu %xmm2, (%rax, %rdi)              ; trap: out of bounds memory access
         0031  subl $0x1, %edx
         0034  addl $0x10, %esi
@00ad    003a  testl %edx, %edx
         003c  jne 0x0019
@00b0    0042  movq %rbp, %rsp
         0045  popq %rbp
         0046  retq
         0047  .byte 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00
         0050  .byte 0x00, 0x00, 0x80, 0x3f, 0x00, 0x00, 0x00, 0x40, 0x00, 0x00, 0x40, 0x40, 0x00, 0x00, 0x80, 0x40

; add (generational, x86-64-v3)
; (param (ref $s)) (param v128)
; 9 instructions, 28 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
@00b7    0004  movq (%rdi), %rdi
         0007  vmovdqu 0x10(%rdi, %rsi), %xmm6          ; trap: null reference
@00bd    000d  vpaddd %xmm0, %xmm6, %xmm6
@00c0    0011  vmovdqu %xmm6, 0x10(%rdi, %rsi)          ; trap: null reference
@00c4    0017  movq %rbp, %rsp
         001a  popq %rbp
         001b  retq

; new (generational, x86-64-v3)
; (param v128) (result (ref $s))
; 29 instructions, 112 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
         0004  movq 0x10(%rdi), %r10
         0008  movq (%r10), %r10
         000b  addq $0x10, %r10
         000f  cmpq %rsp, %r10
         0012  ja 0x006e
@00cb    0018  movq 0x8(%rdi), %rcx
         001c  movl 0x10(%rcx), %eax
         001f  movl 0x14(%rcx), %edx
         0022  leaq 0x20(%rax), %rsi
         0026  cmpq %rdx, %rsi
         0029  ja 0x0057
         002f  leaq 0x20(%rax), %rdx
@00cb    0033  movl %edx, 0x10(%rcx)
         0036  movq (%rdi), %rcx
         0039  movq $0x38000000, (%rcx, %rax)
       > 0041  movq (%rdi), %rcx
         0044  movl $0x1, 0x8(%rcx, %rax)
         004c  vmovdqu %xmm0, 0x10(%rcx, %rax)
@00ce    0052  movq %rbp, %rsp
         0055  popq %rbp
         0056  retq
@00cb  > 0057  movl $0x38000000, %esi
         005c  callq gc_alloc_struct
         0061  movq 0x10(%rdi), %rax
         0065  movq 0x20(%rax), %rax
         0069  jmp 0x0041
       > 006e  ud2                                      ; trap: call stack exhausted

; element (generational, x86-64-v3)
; (param (ref $a)) (param i32) (result v128)
; 12 instructions, 38 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
@00d5    0004  movq (%rdi), %rdi
         0007  cmpl 0x8(%rdi, %rsi), %edx               ; trap: null reference
         000b  jae 0x0024
         0011  shll $0x4, %edx
         0014  leal (%rsi, %rdx), %r9d
         0018  vmovdqu 0x10(%rdi, %r9), %xmm0           ; trap: corrupt GC heap
@00d8    001f  movq %rbp, %rsp
         0022  popq %rbp
         0023  retq
@00d5  > 0024  ud2                                      ; trap: out of bounds array access

; fused (generational, x86-64-v3)
; (param v128) (param v128) (param v128) (result v128)
; 6 instructions, 14 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
@00e1    0004  vfmadd213pd %xmm2, %xmm1, %xmm0
@00e4    0009  movq %rbp, %rsp
         000c  popq %rbp
         000d  retq
