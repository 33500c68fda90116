; new (drc, x86-64-v3)
; (param i32) (param i64) (param f32) (param f64) (param anyref) (result (ref $s))
; 44 instructions, 174 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
         0004  movq 0x10(%rdi), %r10
         0008  movq (%r10), %r10
         000b  addq $0x20, %r10
         000f  cmpq %rsp, %r10
         0012  ja 0x00ac
         0018  subq $0x10, %rsp
         001c  movq %rsi, %r11
@0045    001f  movq 0x8(%rdi), %r8
         0023  movl 0x10(%r8), %eax
         0027  movl 0x14(%r8), %r9d
         002b  leaq 0x28(%rax), %r10
         002f  cmpq %r9, %r10
         0032  ja 0x008d
         0038  leaq 0x28(%rax), %rsi
@0045    003c  movl %esi, 0x10(%r8)
         0040  movq (%rdi), %rsi
         0043  movq $0x38000000, (%rsi, %rax)
         004b  movq 0x18(%r8), %r8
         004f  movq %rax, %rsi
         0052  shrq $0x3, %rsi
         0056  movb $0x1, (%r8, %rsi)
       > 005b  movq (%rdi), %rdi
         005e  movq %r11, %rsi
         0061  movb %sil, 0x8(%rdi, %rax)
         0066  movw %si, 0xa(%rdi, %rax)
         006b  movl %esi, 0xc(%rdi, %rax)
         006f  movq %rdx, 0x10(%rdi, %rax)
         0074  vmovss %xmm0, 0x18(%rdi, %rax)
         007a  vmovsd %xmm1, 0x20(%rdi, %rax)
         0080  movl %ecx, 0x1c(%rdi, %rax)
@0048    0084  addq $0x10, %rsp
         0088  movq %rbp, %rsp
         008b  popq %rbp
         008c  retq
@0045  > 008d  movq %rcx, (%rsp)
         0091  movl $0x38000000, %esi
         0096  callq gc_alloc_struct
               ; frame of 16 bytes, references at (%rsp)
         009b  movq 0x10(%rdi), %rax
         009f  movq 0x20(%rax), %rax
         00a3  movq (%rsp), %rcx
         00a7  jmp 0x005b
       > 00ac  ud2                                      ; trap: call stack exhausted
