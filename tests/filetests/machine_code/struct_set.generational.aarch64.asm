; packed (generational, armv8.1-a)
; (param (ref null $s)) (param i32)
; 7 instructions, 28 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
@0055    0008  ldr x5, [x2]
         000c  add x5, x5, x3
         0010  strb w4, [x5, #8]                        ; trap: null reference
@0059    0014  ldp x29, x30, [sp], #16
         0018  ret

; number (generational, armv8.1-a)
; (param (ref null $s)) (param f64)
; 7 instructions, 28 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
@0060    0008  ldr x5, [x2]
         000c  add x5, x5, x3
         0010  str d0, [x5, #16]                        ; trap: null reference
@0064    0014  ldp x29, x30, [sp], #16
         0018  ret

; reference (generational, armv8.1-a)
; (param (ref null $s)) (param anyref)
; 55 instructions, 220 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
@006b    0008  ldr x5, [x2]
         000c  sub w0, w3, #0x10, lsl #12
         0010  mov w1, #0x4000000
         0014  cmp w0, w1
         0018  b.lo 0x0054
         001c  ldr x0, [x2, #8]
         0020  ldr w2, [x0, #28]
         0024  sub w1, w4, #0x10, lsl #12
@006b    0028  cmp w1, w2
         002c  b.hi 0x0054
         0030  ldr w2, [x0, #24]
         0034  cbnz w2, 0x007c
         0038  add x1, x5, x3
         003c  str w4, [x1, #12]                        ; trap: null reference
         0040  ldr x1, [x0, #48]
         0044  lsr x2, x3, #0x7
         0048  ldrb w4, [x1, x2]
         004c  cbz w4, 0x0064
         0050  b 0x005c
       > 0054  add x0, x5, x3
@006b    0058  str w4, [x0, #12]                        ; trap: null reference
@006f  > 005c  ldp x29, x30, [sp], #16
         0060  ret
@006b  > 0064  ldr x0, [x0, #64]
         0068  mov w4, #0x1
         006c  strb w4, [x1, x2]
         0070  lsr x1, x3, #0xd
         0074  strb w4, [x0, x1]
         0078  b 0x005c
       > 007c  add x2, x5, x3
@006b    0080  ldr w5, [x2, #12]                        ; trap: null reference
         0084  ldr x6, [x0, #32]
         0088  add x7, x6, #0x1
         008c  str x7, [x0, #32]
         0090  ldr x7, [x0, #40]
         0094  and x6, x6, #0xfffff
         0098  lsl x8, x6, #0x3
         009c  add x6, x7, x6, lsl #3
         00a0  str w5, [x7, x8]
         00a4  add x5, x3, #0xc
         00a8  str w5, [x6, #4]
         00ac  str w4, [x2, #12]                        ; trap: null reference
         00b0  mov w2, #0x4000000
@006b    00b4  cmp w1, w2
         00b8  b.hs 0x005c
         00bc  ldr x1, [x0, #48]
         00c0  ldr x0, [x0, #64]
         00c4  mov w2, #0x1
         00c8  lsr x4, x3, #0x7
@006b    00cc  strb w2, [x1, x4]
         00d0  lsr x1, x3, #0xd
@006b    00d4  strb w2, [x0, x1]
         00d8  b 0x005c
