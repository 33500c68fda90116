; len (generational, armv8.1-a)
; (param arrayref) (result i32)
; 7 instructions, 28 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
@0079    0008  ldr x5, [x2]
         000c  add x5, x5, x3
         0010  ldr w2, [x5, #8]                         ; trap: null reference
@007b    0014  ldp x29, x30, [sp], #16
         0018  ret

; signed (generational, armv8.1-a)
; (param (ref null $shorts)) (param i32) (result i32)
; 13 instructions, 52 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
@0082    0008  ldr x9, [x2]
         000c  add x10, x9, x3
         0010  ldr w10, [x10, #8]                       ; trap: null reference
         0014  cmp w4, w10
         0018  b.hs 0x0030
         001c  add w11, w3, w4, lsl #1
         0020  add x11, x9, w11
         0024  ldrsh x2, [x11, #12]                     ; trap: corrupt GC heap
@0085    0028  ldp x29, x30, [sp], #16
         002c  ret
@0082  > 0030  udf #0xc11f                              ; trap: out of bounds array access

; long (generational, armv8.1-a)
; (param (ref $longs)) (param i32) (result i64)
; 13 instructions, 52 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
@008c    0008  ldr x9, [x2]
         000c  add x10, x9, x3
         0010  ldr w10, [x10, #8]                       ; trap: null reference
         0014  cmp w4, w10
         0018  b.hs 0x0030
         001c  add w11, w3, w4, lsl #3
         0020  add x11, x9, w11
         0024  ldr x2, [x11, #16]                       ; trap: corrupt GC heap
@008f    0028  ldp x29, x30, [sp], #16
         002c  ret
@008c  > 0030  udf #0xc11f                              ; trap: out of bounds array access

; get (generational, armv8.1-a)
; (param (ref $refs)) (param i32) (result anyref)
; 13 instructions, 52 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
@0096    0008  ldr x9, [x2]
         000c  add x10, x9, x3
         0010  ldr w10, [x10, #8]                       ; trap: null reference
         0014  cmp w4, w10
         0018  b.hs 0x0030
         001c  add w11, w3, w4, lsl #2
         0020  add x11, x9, w11
         0024  ldr w2, [x11, #12]                       ; trap: corrupt GC heap
@0099    0028  ldp x29, x30, [sp], #16
         002c  ret
@0096  > 0030  udf #0xc11f                              ; trap: out of bounds array access

; set (generational, armv8.1-a)
; (param (ref $refs)) (param i32) (param anyref)
; 50 instructions, 200 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
@00a2    0008  ldr x1, [x2]
         000c  add x0, x1, x3
         0010  ldr w0, [x0, #8]                         ; trap: null reference
         0014  cmp w4, w0
         0018  b.hs 0x00c4
         001c  ldr x0, [x2, #8]
         0020  ldr w2, [x0, #24]
         0024  cbnz w2, 0x0078
       > 0028  add w3, w3, w4, lsl #2
         002c  mov w2, w3
         0030  add x1, x1, w3
@00a2    0034  str w5, [x1, #12]                        ; trap: corrupt GC heap
         0038  sub w1, w5, #0x10, lsl #12
         003c  mov w4, #0x4000000
         0040  cmp w1, w4
         0044  b.hs 0x0070
         0048  mov w1, #0xffff000c
         004c  add w1, w3, w1
         0050  mov w3, #0x4000000
@00a2    0054  cmp w1, w3
         0058  b.lo 0x0070
         005c  ldr x1, [x0, #48]
         0060  add x2, x2, #0xc
@00a2    0064  lsr x3, x2, #0x7
         0068  ldrb w4, [x1, x3]
         006c  cbz w4, 0x00ac
@00a5  > 0070  ldp x29, x30, [sp], #16
         0074  ret
@00a2  > 0078  add w6, w3, w4, lsl #2
         007c  mov w2, w6
         0080  add x6, x1, w6
         0084  ldr w6, [x6, #12]                        ; trap: corrupt GC heap
         0088  ldr x7, [x0, #32]
         008c  add x8, x7, #0x1
         0090  str x8, [x0, #32]
         0094  ldr x8, [x0, #40]
         0098  add x2, x2, #0xc
         009c  orr x2, x6, x2, lsl #32
         00a0  and x6, x7, #0xfffff
         00a4  str x2, [x8, x6, lsl #3]
         00a8  b 0x0028
       > 00ac  ldr x0, [x0, #64]
         00b0  mov w4, #0x1
         00b4  strb w4, [x1, x3]
         00b8  lsr x1, x2, #0xd
         00bc  strb w4, [x0, x1]
         00c0  b 0x0070
       > 00c4  udf #0xc11f                              ; trap: out of bounds array access

; store (generational, armv8.1-a)
; (param (ref null $shorts)) (param i32) (param i32)
; 13 instructions, 52 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
@00ae    0008  ldr x9, [x2]
         000c  add x10, x9, x3
         0010  ldr w10, [x10, #8]                       ; trap: null reference
         0014  cmp w4, w10
         0018  b.hs 0x0030
         001c  add w11, w3, w4, lsl #1
         0020  add x11, x9, w11
         0024  strh w5, [x11, #12]                      ; trap: corrupt GC heap
@00b1    0028  ldp x29, x30, [sp], #16
         002c  ret
@00ae  > 0030  udf #0xc11f                              ; trap: out of bounds array access
