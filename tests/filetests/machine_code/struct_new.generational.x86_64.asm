; new (generational, x86-64-v3)
; (param i32) (param i64) (param f32) (param f64) (param anyref) (result (ref $s))
; 40 instructions, 158 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
         0004  movq 0x10(%rdi), %r10
         0008  movq (%r10), %r10
         000b  addq $0x20, %r10
         000f  cmpq %rsp, %r10
         0012  ja 0x009c
         0018  subq $0x10, %rsp
         001c  movq %rsi, %r11
@0045    001f  movq 0x8(%rdi), %r8
         0023  movl 0x10(%r8), %eax
         0027  movl 0x14(%r8), %r9d
         002b  leaq 0x28(%rax), %r10
         002f  cmpq %r9, %r10
         0032  ja 0x007d
         0038  leaq 0x28(%rax), %rsi
@0045    003c  movl %esi, 0x10(%r8)
         0040  movq (%rdi), %rsi
         0043  movq $0x38000000, (%rsi, %rax)
       > 004b  movq (%rdi), %rdi
         004e  movq %r11, %rsi
         0051  movb %sil, 0x8(%rdi, %rax)
         0056  movw %si, 0xa(%rdi, %rax)
         005b  movl %esi, 0xc(%rdi, %rax)
         005f  movq %rdx, 0x10(%rdi, %rax)
         0064  vmovss %xmm0, 0x18(%rdi, %rax)
         006a  vmovsd %xmm1, 0x20(%rdi, %rax)
         0070  movl %ecx, 0x1c(%rdi, %rax)
@0048    0074  addq $0x10, %rsp
         0078  movq %rbp, %rsp
         007b  popq %rbp
         007c  retq
@0045  > 007d  movq %rcx, (%rsp)
         0081  movl $0x38000000, %esi
         0086  callq gc_alloc_struct
               ; frame of 16 bytes, references at (%rsp)
         008b  movq 0x10(%rdi), %rax
         008f  movq 0x20(%rax), %rax
         0093  movq (%rsp), %rcx
         0097  jmp 0x004b
       > 009c  ud2                                      ; trap: call stack exhausted
