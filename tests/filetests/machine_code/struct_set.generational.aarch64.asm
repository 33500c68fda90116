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
; 39 instructions, 156 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
@006b    0008  ldr x1, [x2]
         000c  ldr x0, [x2, #8]
         0010  ldr w2, [x0, #24]
         0014  cbnz w2, 0x0058
       > 0018  add x1, x1, x3
@006b    001c  str w4, [x1, #12]                        ; trap: null reference
         0020  sub w1, w4, #0x10, lsl #12
         0024  mov w2, #0x4000000
         0028  cmp w1, w2
         002c  b.hs 0x0050
         0030  sub w1, w3, #0x10, lsl #12
         0034  mov w2, #0x4000000
@006b    0038  cmp w1, w2
         003c  b.lo 0x0050
         0040  ldr x1, [x0, #48]
         0044  lsr x2, x3, #0x7
         0048  ldrb w4, [x1, x2]
         004c  cbz w4, 0x0084
@006f  > 0050  ldp x29, x30, [sp], #16
         0054  ret
@006b  > 0058  add x2, x1, x3
         005c  ldr w2, [x2, #12]                        ; trap: null reference
         0060  ldr x5, [x0, #32]
         0064  add x6, x5, #0x1
         0068  str x6, [x0, #32]
         006c  ldr x6, [x0, #40]
         0070  add x7, x3, #0xc
         0074  orr x2, x2, x7, lsl #32
         0078  and x5, x5, #0xfffff
         007c  str x2, [x6, x5, lsl #3]
         0080  b 0x0018
       > 0084  ldr x0, [x0, #64]
         0088  mov w4, #0x1
         008c  strb w4, [x1, x2]
         0090  lsr x1, x3, #0xd
         0094  strb w4, [x0, x1]
         0098  b 0x0050
