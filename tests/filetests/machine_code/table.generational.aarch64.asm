; get (generational, armv8.1-a)
; (param i32) (result externref)
; 11 instructions, 44 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
@0053    0008  ldr x6, [x2, #56]
         000c  mov w7, w3
         0010  cmp x7, x6
         0014  b.hs 0x0028
         0018  ldr x8, [x2, #48]
         001c  ldr w2, [x8, w3, uxtw #2]
@0055    0020  ldp x29, x30, [sp], #16
         0024  ret
@0053  > 0028  udf #0xc11f                              ; trap: undefined element: out of bounds table access

; set (generational, armv8.1-a)
; (param i32) (param externref)
; 18 instructions, 72 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
@005c    0008  ldr x13, [x2, #56]
         000c  mov w12, w3
         0010  cmp x12, x13
         0014  b.hs 0x0044
         0018  ldr x15, [x2, #48]
         001c  add x14, x15, x12, lsl #2
         0020  str w4, [x15, w3, uxtw #2]
         0024  ldr x15, [x2, #8]
         0028  ldr x15, [x15, #56]
         002c  mov w0, #0x1
         0030  lsr x1, x14, #0xa
         0034  and x1, x1, #0xfff
         0038  strb w0, [x15, x1]
@005e    003c  ldp x29, x30, [sp], #16
         0040  ret
@005c  > 0044  udf #0xc11f                              ; trap: undefined element: out of bounds table access

; grow (generational, armv8.1-a)
; (param externref) (param i32) (result i32)
; 16 instructions, 64 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
         0008  ldur x16, [x2, #16]
         000c  ldur x16, [x16]
         0010  add x16, x16, #0x10
         0014  cmp sp, x16
         0018  b.lo 0x003c
         001c  mov x1, x3
@0065    0020  mov w0, #0x0
         0024  mov w3, w4
         0028  bl table_grow_ref
         002c  ldr x8, [x2, #16]
         0030  ldr x2, [x8, #32]
@0068    0034  ldp x29, x30, [sp], #16
         0038  ret
       > 003c  udf #0xc11f                              ; trap: call stack exhausted

; fill (generational, armv8.1-a)
; (param i32) (param externref) (param i32)
; 16 instructions, 64 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
         0008  ldur x16, [x2, #16]
         000c  ldur x16, [x16]
         0010  add x16, x16, #0x10
         0014  cmp sp, x16
         0018  b.lo 0x003c
         001c  mov x9, x4
@0071    0020  mov w0, #0x0
         0024  mov w1, w3
         0028  mov w4, w5
         002c  mov x3, x9
         0030  bl table_fill_ref
@0074    0034  ldp x29, x30, [sp], #16
         0038  ret
       > 003c  udf #0xc11f                              ; trap: call stack exhausted
