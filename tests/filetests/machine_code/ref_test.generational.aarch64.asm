; i31 (generational, armv8.1-a)
; (param anyref) (result i32)
; 8 instructions, 32 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
@0065    0008  and x5, x3, #0x1
         000c  cmp x5, #0x0
         0010  cset x6, ne
         0014  uxtb w2, w6
@0068    0018  ldp x29, x30, [sp], #16
         001c  ret

; eq (generational, armv8.1-a)
; (param anyref) (result i32)
; 15 instructions, 60 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
@006d    0008  ror w11, w3, #0x1
         000c  mov w4, #0x1
         0010  cmp w11, #0x0
         0014  b.le 0x0030
         0018  ldr x14, [x2]
         001c  ldr w14, [x14, x3]                       ; trap: corrupt GC heap
         0020  mov w15, #0x18000000
         0024  and w14, w14, #0x18000000
         0028  cmp w14, w15
         002c  cset x4, eq
       > 0030  uxtb w2, w4
@0070    0034  ldp x29, x30, [sp], #16
         0038  ret

; struct (generational, armv8.1-a)
; (param anyref) (result i32)
; 15 instructions, 60 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
@0075    0008  ror w11, w3, #0x1
         000c  mov w4, #0x0
         0010  cmp w11, #0x0
         0014  b.le 0x0030
         0018  ldr x14, [x2]
         001c  ldr w14, [x14, x3]                       ; trap: corrupt GC heap
         0020  mov w15, #0x38000000
         0024  and w14, w14, #0x38000000
         0028  cmp w14, w15
         002c  cset x4, eq
       > 0030  uxtb w2, w4
@0078    0034  ldp x29, x30, [sp], #16
         0038  ret

; array (generational, armv8.1-a)
; (param anyref) (result i32)
; 15 instructions, 60 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
@007d    0008  ror w11, w3, #0x1
         000c  mov w4, #0x0
         0010  cmp w11, #0x0
         0014  b.le 0x0030
         0018  ldr x14, [x2]
         001c  ldr w14, [x14, x3]                       ; trap: corrupt GC heap
         0020  mov w15, #0x58000000
         0024  and w14, w14, w15
         0028  cmp w14, w15
         002c  cset x4, eq
       > 0030  uxtb w2, w4
@0080    0034  ldp x29, x30, [sp], #16
         0038  ret

; none (generational, armv8.1-a)
; (param anyref) (result i32)
; 7 instructions, 28 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
@0085    0008  cmp x3, #0x0
         000c  cset x5, eq
         0010  uxtb w2, w5
@0088    0014  ldp x29, x30, [sp], #16
         0018  ret

; final (generational, armv8.1-a)
; (param anyref) (result i32)
; 15 instructions, 60 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
@008d    0008  ror w11, w3, #0x1
         000c  mov w4, #0x0
         0010  cmp w11, #0x0
         0014  b.le 0x0030
         0018  ldr x14, [x2]
         001c  ldr w14, [x14, x3]                       ; trap: corrupt GC heap
         0020  mov w15, #0x1
         0024  movk w15, #0x3800, lsl #16
         0028  cmp w14, w15
         002c  cset x4, eq
       > 0030  uxtb w2, w4
@0090    0034  ldp x29, x30, [sp], #16
         0038  ret

; open (generational, armv8.1-a)
; (param structref) (result i32)
; 22 instructions, 88 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
@0095    0008  mov w4, #0x1
         000c  cbz x3, 0x0028
         0010  ldr x0, [x2]
         0014  ldr w0, [x0, x3]                         ; trap: corrupt GC heap
         0018  mov w1, #0x38000000
         001c  mov w4, #0x1
@0095    0020  cmp w0, w1
         0024  b.ne 0x0034
       > 0028  uxtb w2, w4
@0098    002c  ldp x29, x30, [sp], #16
         0030  ret
@0095  > 0034  ldr x1, [x2, #16]
         0038  ldr x1, [x1, #40]
         003c  and w0, w0, #0xfffff
         0040  mov w0, w0
         0044  lsl x0, x0, #0x5
         0048  ldr w0, [x1, x0]
         004c  cmp w0, #0x1
         0050  cset x4, eq
         0054  b 0x0028
