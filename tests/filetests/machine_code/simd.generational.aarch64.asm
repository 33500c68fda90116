; scale (generational, armv8.1-a)
; (param $at i32) (param $count i32) (param $factor f32) (local 3 $factors)
; 16 instructions, 80 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
@0077    0008  ldr x0, [x2, #48]
         000c  ldr x1, [x2, #32]
@0073    0010  mov v16.4s, v0.s[0]
@0086    0014  ldr q17, 0x0040
@007d  > 0018  ldrb w2, [x1]                            ; trap: interrupt
         001c  ldr q18, [x0, w3, uxtw]                  ; trap: out of bounds memory access
@0083    0020  fmul v18.4s, v18.4s, v16.4s
@0098    0024  fadd v18.4s, v18.4s, v17.4s
@009b    0028  str q18, [x0, w3, uxtw]                  ; trap: out of bounds memory access
         002c  sub w4, w4, #0x1
         0030  add w3, w3, #0x10
@00ad    0034  cbnz w4, 0x0018
@00b0    0038  ldp x29, x30, [sp], #16
         003c  ret
         0040  .byte 0x00, 0x00, 0x80, 0x3f, 0x00, 0x00, 0x00, 0x40, 0x00, 0x00, 0x40, 0x40, 0x00, 0x00, 0x80, 0x40

; add (generational, armv8.1-a)
; (param (ref $s)) (param v128)
; 9 instructions, 36 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
@00b7    0008  ldr x7, [x2]
         000c  add x7, x7, x3
         0010  ldr q7, [x7, #16]                        ; trap: null reference
@00bd    0014  add v7.4s, v7.4s, v0.4s
@00c0    0018  str q7, [x7, #16]                        ; trap: null reference
@00c4    001c  ldp x29, x30, [sp], #16
         0020  ret

; new (generational, armv8.1-a)
; (param v128) (result (ref $s))
; 35 instructions, 140 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
         0008  ldur x16, [x2, #16]
         000c  ldur x16, [x16]
         0010  add x16, x16, #0x10
         0014  cmp sp, x16
         0018  b.lo 0x0088
@00cb    001c  ldr x0, [x2, #8]
         0020  ldr w4, [x0, #16]
         0024  ldr w1, [x0, #20]
         0028  add x3, x4, #0x20
         002c  cmp x3, x1
         0030  b.hi 0x0070
         0034  mov x1, x4
         0038  add x3, x1, #0x20
@00cb    003c  str w3, [x0, #16]
         0040  ldr x0, [x2]
         0044  mov x1, #0x38000000
         0048  mov x3, x4
@00cb    004c  str x1, [x0, x3]
       > 0050  ldr x0, [x2]
@00c7    0054  mov w1, #0x1
         0058  mov x2, x4
@00cb    005c  add x0, x0, x2
         0060  str w1, [x0, #8]
         0064  str q0, [x0, #16]
@00ce    0068  ldp x29, x30, [sp], #16
         006c  ret
@00cb  > 0070  mov w0, #0x38000000
         0074  mov x1, x2
         0078  bl gc_alloc_struct
         007c  ldr x0, [x2, #16]
         0080  ldr x4, [x0, #32]
         0084  b 0x0050
       > 0088  udf #0xc11f                              ; trap: call stack exhausted

; element (generational, armv8.1-a)
; (param (ref $a)) (param i32) (result v128)
; 13 instructions, 52 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
@00d5    0008  ldr x9, [x2]
         000c  add x10, x9, x3
         0010  ldr w10, [x10, #8]                       ; trap: null reference
         0014  cmp w4, w10
         0018  b.hs 0x0030
         001c  add w11, w3, w4, lsl #4
         0020  add x11, x9, w11
         0024  ldr q0, [x11, #16]                       ; trap: corrupt GC heap
@00d8    0028  ldp x29, x30, [sp], #16
         002c  ret
@00d5  > 0030  udf #0xc11f                              ; trap: out of bounds array access

; fused (generational, armv8.1-a)
; (param v128) (param v128) (param v128) (result v128)
; 7 instructions, 28 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
         0008  mov v5.16b, v0.16b
         000c  mov v0.16b, v2.16b
@00e1    0010  fmla v0.2d, v5.2d, v1.2d
@00e4    0014  ldp x29, x30, [sp], #16
         0018  ret
