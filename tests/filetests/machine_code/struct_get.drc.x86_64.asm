; number (drc, x86-64-v3)
; (param (ref null $s)) (result i64)
; 7 instructions, 17 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
@0061    0004  movq (%rdi), %rdi
         0007  movq 0x10(%rdi, %rsi), %rax              ; trap: null reference
@0065    000c  movq %rbp, %rsp
         000f  popq %rbp
         0010  retq

; signed (drc, x86-64-v3)
; (param (ref $s)) (result i32)
; 7 instructions, 18 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
@006a    0004  movq (%rdi), %rdi
         0007  movsbq 0x8(%rdi, %rsi), %rax             ; trap: null reference
@006e    000d  movq %rbp, %rsp
         0010  popq %rbp
         0011  retq

; unsigned (drc, x86-64-v3)
; (param (ref $s)) (result i32)
; 7 instructions, 18 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
@0073    0004  movq (%rdi), %rdi
         0007  movzbq 0x8(%rdi, %rsi), %rax             ; trap: null reference
@0077    000d  movq %rbp, %rsp
         0010  popq %rbp
         0011  retq

; reference (drc, x86-64-v3)
; (param (ref null $s)) (result anyref)
; 7 instructions, 16 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
@007c    0004  movq (%rdi), %rdi
         0007  movl 0xc(%rdi, %rsi), %eax               ; trap: null reference
@0080    000b  movq %rbp, %rsp
         000e  popq %rbp
         000f  retq
