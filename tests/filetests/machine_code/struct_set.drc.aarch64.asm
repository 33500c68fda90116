; packed (drc, armv8.1-a)
; (param (ref null $s)) (param i32)
; 7 instructions, 28 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
@0055    0008  ldr x5, [x2]
         000c  add x5, x5, x3
         0010  strb w4, [x5, #8]                        ; trap: null reference
@0059    0014  ldp x29, x30, [sp], #16
         0018  ret

; number (drc, armv8.1-a)
; (param (ref null $s)) (param f64)
; 7 instructions, 28 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
@0060    0008  ldr x5, [x2]
         000c  add x5, x5, x3
         0010  str d0, [x5, #16]                        ; trap: null reference
@0064    0014  ldp x29, x30, [sp], #16
         0018  ret

; reference (drc, armv8.1-a)
; (param (ref null $s)) (param anyref)
; 81 instructions, 324 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
         0008  ldur x16, [x2, #16]
         000c  ldur x16, [x16]
         0010  add x16, x16, #0x10
         0014  cmp sp, x16
         0018  b.lo 0x0140
@006b    001c  ldr x1, [x2]
         0020  add x7, x1, x3
         0024  ldr w0, [x7, #4]                         ; trap: null reference
         0028  tbnz w0, #0x0, 0x0034
         002c  str w4, [x7, #12]                        ; trap: null reference
         0030  b 0x00ac
       > 0034  ldr w0, [x7, #12]                        ; trap: null reference
         0038  mov x9, x0
         003c  ror w0, w4, #0x1
@006b    0040  cmp w0, #0x0
         0044  b.gt 0x0050
         0048  mov x1, x4
         004c  b 0x0070
@006b  > 0050  add x3, x1, x4
         0054  mov x8, x4
         0058  ldr w5, [x3, #4]                         ; trap: corrupt GC heap
         005c  add w1, w5, #0x4
         0060  str w1, [x3, #4]                         ; trap: corrupt GC heap
         0064  and w0, w1, #0x3
         0068  cbz w0, 0x00b4
         006c  mov x1, x8
@006b  > 0070  str w1, [x7, #12]                        ; trap: null reference
         0074  mov x1, x9
         0078  ror w0, w1, #0x1
@006b    007c  cmp w0, #0x0
         0080  b.le 0x00ac
         0084  ldr x0, [x2]
         0088  add x0, x0, x1
         008c  ldr w4, [x0, #4]                         ; trap: corrupt GC heap
         0090  sub w5, w4, #0x4
         0094  str w5, [x0, #4]                         ; trap: corrupt GC heap
         0098  ldr x3, [x2, #8]
         009c  ldr w6, [x3, #48]
         00a0  and w5, w5, w6
         00a4  cmp w5, #0x1
         00a8  b.eq 0x0100
@006f  > 00ac  ldp x29, x30, [sp], #16
         00b0  ret
@006b  > 00b4  ldr x4, [x2, #8]
         00b8  ldr w6, [x4, #40]
         00bc  ldr w0, [x4, #44]
         00c0  cmp w6, w0
         00c4  b.lo 0x00dc
         00c8  mov w0, #0x0
@006b    00cc  mov x3, #0x0
         00d0  mov x1, x8
         00d4  bl gc_collector
         00d8  b 0x0070
       > 00dc  mov x1, x8
         00e0  add w0, w5, #0x4
         00e4  orr w0, w0, #0x2
@006b    00e8  str w0, [x3, #4]                         ; trap: corrupt GC heap
         00ec  ldr x0, [x4, #32]
         00f0  str w1, [x0, w6, uxtw #2]
         00f4  add w0, w6, #0x1
@006b    00f8  str w0, [x4, #40]
         00fc  b 0x0070
       > 0100  ldr w5, [x3, #40]
         0104  ldr w6, [x3, #44]
         0108  cmp w5, w6
         010c  b.lo 0x0120
         0110  mov w0, #0x0
         0114  mov x3, #0x0
@006b    0118  bl gc_collector
         011c  b 0x00ac
       > 0120  sub w4, w4, #0x4
         0124  orr w4, w4, #0x2
@006b    0128  str w4, [x0, #4]                         ; trap: corrupt GC heap
         012c  ldr x4, [x3, #32]
         0130  str w1, [x4, w5, uxtw #2]
         0134  add w5, w5, #0x1
@006b    0138  str w5, [x3, #40]
         013c  b 0x00ac
       > 0140  udf #0xc11f                              ; trap: call stack exhausted
