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
; 67 instructions, 268 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
@00a2    0008  ldr x1, [x2]
         000c  add x0, x1, x3
         0010  ldr w0, [x0, #8]                         ; trap: null reference
         0014  cmp w4, w0
         0018  b.hs 0x0108
         001c  sub w0, w3, #0x10, lsl #12
         0020  mov w6, #0x4000000
         0024  cmp w0, w6
         0028  b.lo 0x0070
         002c  ldr x0, [x2, #8]
         0030  ldr w6, [x0, #28]
         0034  sub w2, w5, #0x10, lsl #12
@00a2    0038  cmp w2, w6
         003c  b.hi 0x0070
         0040  ldr w6, [x0, #24]
         0044  cbnz w6, 0x00a0
         0048  add w3, w3, w4, lsl #2
         004c  mov w2, w3
         0050  add x1, x1, w3
         0054  str w5, [x1, #12]                        ; trap: corrupt GC heap
         0058  ldr x1, [x0, #48]
         005c  add x3, x2, #0xc
         0060  lsr x3, x3, #0x7
         0064  ldrb w4, [x1, x3]
         0068  cbz w4, 0x0084
         006c  b 0x007c
       > 0070  add w6, w3, w4, lsl #2
         0074  add x6, x1, w6
@00a2    0078  str w5, [x6, #12]                        ; trap: corrupt GC heap
@00a5  > 007c  ldp x29, x30, [sp], #16
         0080  ret
@00a2  > 0084  ldr x0, [x0, #64]
         0088  mov w4, #0x1
         008c  strb w4, [x1, x3]
         0090  add x1, x2, #0xc
         0094  lsr x1, x1, #0xd
@00a2    0098  strb w4, [x0, x1]
         009c  b 0x007c
       > 00a0  add w4, w3, w4, lsl #2
         00a4  mov w3, w4
         00a8  add x1, x1, w4
@00a2    00ac  ldr w4, [x1, #12]                        ; trap: corrupt GC heap
         00b0  ldr x6, [x0, #32]
         00b4  add x7, x6, #0x1
         00b8  str x7, [x0, #32]
         00bc  ldr x7, [x0, #40]
         00c0  and x6, x6, #0xfffff
         00c4  lsl x8, x6, #0x3
         00c8  add x6, x7, x6, lsl #3
         00cc  str w4, [x7, x8]
         00d0  add x3, x3, #0xc
@00a2    00d4  str w3, [x6, #4]
         00d8  str w5, [x1, #12]                        ; trap: corrupt GC heap
         00dc  mov w1, #0x4000000
@00a2    00e0  cmp w2, w1
         00e4  b.hs 0x007c
         00e8  ldr x4, [x0, #48]
         00ec  ldr x2, [x0, #64]
         00f0  mov w5, #0x1
         00f4  lsr x6, x3, #0x7
@00a2    00f8  strb w5, [x4, x6]
         00fc  lsr x3, x3, #0xd
         0100  strb w5, [x2, x3]
         0104  b 0x007c
       > 0108  udf #0xc11f                              ; trap: out of bounds array access

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
