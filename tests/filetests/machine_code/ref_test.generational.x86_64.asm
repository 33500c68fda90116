; i31 (generational, x86-64-v3)
; (param anyref) (result i32)
; 8 instructions, 24 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
@0065    0004  testq $0x1, %rsi
         000b  setneb %sil
         000f  movzbl %sil, %eax
@0068    0013  movq %rbp, %rsp
         0016  popq %rbp
         0017  retq

; eq (generational, x86-64-v3)
; (param anyref) (result i32)
; 17 instructions, 60 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
         0004  movq %rdi, %r11
@006d    0007  rorxl $0x1, %esi, %r10d
         000d  movl $0x1, %edi
         0012  testl %r10d, %r10d
         0015  jle 0x0033
         001b  movq %r11, %rdi
@006d    001e  movq (%rdi), %rax
         0021  movl $0x18000000, %ecx
         0026  andl (%rax, %rsi), %ecx                  ; trap: corrupt GC heap
         0029  cmpl $0x18000000, %ecx
         002f  seteb %dil
       > 0033  movzbl %dil, %eax
@0070    0037  movq %rbp, %rsp
         003a  popq %rbp
         003b  retq

; struct (generational, x86-64-v3)
; (param anyref) (result i32)
; 17 instructions, 57 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
         0004  movq %rdi, %rax
@0075    0007  rorxl $0x1, %esi, %r11d
         000d  xorl %edi, %edi
         000f  testl %r11d, %r11d
         0012  jle 0x0030
         0018  movq %rax, %rdi
@0075    001b  movq (%rdi), %rax
         001e  movl $0x38000000, %ecx
         0023  andl (%rax, %rsi), %ecx                  ; trap: corrupt GC heap
         0026  cmpl $0x38000000, %ecx
         002c  seteb %dil
       > 0030  movzbl %dil, %eax
@0078    0034  movq %rbp, %rsp
         0037  popq %rbp
         0038  retq

; array (generational, x86-64-v3)
; (param anyref) (result i32)
; 17 instructions, 57 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
         0004  movq %rdi, %rax
@007d    0007  rorxl $0x1, %esi, %r11d
         000d  xorl %edi, %edi
         000f  testl %r11d, %r11d
         0012  jle 0x0030
         0018  movq %rax, %rdi
@007d    001b  movq (%rdi), %rax
         001e  movl $0x58000000, %ecx
         0023  andl (%rax, %rsi), %ecx                  ; trap: corrupt GC heap
         0026  cmpl $0x58000000, %ecx
         002c  seteb %dil
       > 0030  movzbl %dil, %eax
@0080    0034  movq %rbp, %rsp
         0037  popq %rbp
         0038  retq

; none (generational, x86-64-v3)
; (param anyref) (result i32)
; 8 instructions, 20 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
@0085    0004  testq %rsi, %rsi
         0007  seteb %sil
         000b  movzbl %sil, %eax
@0088    000f  movq %rbp, %rsp
         0012  popq %rbp
         0013  retq

; final (generational, x86-64-v3)
; (param anyref) (result i32)
; 16 instructions, 51 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
@008d    0004  rorxl $0x1, %esi, %r10d
         000a  movq %rsi, %r11
         000d  xorl %esi, %esi
         000f  testl %r10d, %r10d
         0012  jle 0x002a
         0018  movq (%rdi), %rax
         001b  movq %r11, %rsi
         001e  movl (%rax, %rsi), %eax                  ; trap: corrupt GC heap
         0021  cmpl $0x38000001, %eax
         0026  seteb %sil
       > 002a  movzbl %sil, %eax
@0090    002e  movq %rbp, %rsp
         0031  popq %rbp
         0032  retq

; open (generational, x86-64-v3)
; (param structref) (result i32)
; 22 instructions, 83 bytes
         0000  pushq %rbp
         0001  movq %rsp, %rbp
@0095    0004  movl $0x1, %r8d
         000a  testq %rsi, %rsi
         000d  je 0x002a
         0013  movq (%rdi), %rax
         0016  movl (%rax, %rsi), %eax                  ; trap: corrupt GC heap
         0019  movl $0x1, %r8d
@0095    001f  cmpl $0x38000000, %eax
         0024  jne 0x0033
       > 002a  movzbl %r8b, %eax
@0098    002e  movq %rbp, %rsp
         0031  popq %rbp
         0032  retq
@0095  > 0033  movq 0x10(%rdi), %rcx
         0037  movq 0x28(%rcx), %rcx
         003b  andl $0xfffff, %eax
         0040  shlq $0x5, %rax
         0044  movl (%rcx, %rax), %eax
         0047  cmpl $0x1, %eax
         004a  seteb %r8b
         004e  jmp 0x002a
