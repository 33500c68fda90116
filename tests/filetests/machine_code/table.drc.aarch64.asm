; get (drc, armv8.1-a)
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

; set (drc, armv8.1-a)
; (param i32) (param externref)
; 86 instructions, 344 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
         0008  ldur x16, [x2, #16]
         000c  ldur x16, [x16]
         0010  add x16, x16, #0x10
         0014  cmp sp, x16
         0018  b.lo 0x0150
@005c    001c  ldr x0, [x2, #56]
         0020  mov w1, w3
         0024  cmp x1, x0
         0028  b.hs 0x0154
         002c  ldr x9, [x2, #48]
         0030  ldr w1, [x9, w3, uxtw #2]
         0034  mov x10, x1
         0038  mov x11, x3
         003c  ror w0, w4, #0x1
         0040  cmp w0, #0x0
         0044  b.gt 0x0054
         0048  mov x1, x4
         004c  mov x3, x11
         0050  b 0x0078
@005c  > 0054  ldr x0, [x2]
         0058  add x5, x0, x4
         005c  ldr w7, [x5, #4]                         ; trap: corrupt GC heap
         0060  add w1, w7, #0x4
         0064  str w1, [x5, #4]                         ; trap: corrupt GC heap
         0068  and w0, w1, #0x3
         006c  cbz w0, 0x00bc
         0070  mov x1, x4
         0074  mov x3, x11
@005c  > 0078  str w1, [x9, w3, uxtw #2]
         007c  mov x1, x10
         0080  ror w0, w1, #0x1
@005c    0084  cmp w0, #0x0
         0088  b.le 0x00b4
         008c  ldr x0, [x2]
         0090  add x0, x0, x1
         0094  ldr w4, [x0, #4]                         ; trap: corrupt GC heap
         0098  sub w5, w4, #0x4
         009c  str w5, [x0, #4]                         ; trap: corrupt GC heap
         00a0  ldr x3, [x2, #8]
         00a4  ldr w6, [x3, #48]
         00a8  and w5, w5, w6
         00ac  cmp w5, #0x1
         00b0  b.eq 0x0110
@005e  > 00b4  ldp x29, x30, [sp], #16
         00b8  ret
@005c  > 00bc  ldr x6, [x2, #8]
         00c0  ldr w8, [x6, #40]
         00c4  ldr w0, [x6, #44]
         00c8  cmp w8, w0
         00cc  b.lo 0x00e8
         00d0  mov w0, #0x0
@005c    00d4  mov x3, #0x0
         00d8  mov x1, x4
         00dc  bl gc_collector
         00e0  mov x3, x11
         00e4  b 0x0078
       > 00e8  mov x1, x4
         00ec  add w0, w7, #0x4
         00f0  orr w0, w0, #0x2
@005c    00f4  str w0, [x5, #4]                         ; trap: corrupt GC heap
         00f8  ldr x0, [x6, #32]
         00fc  str w1, [x0, w8, uxtw #2]
         0100  add w0, w8, #0x1
@005c    0104  str w0, [x6, #40]
         0108  mov x3, x11
         010c  b 0x0078
       > 0110  ldr w5, [x3, #40]
         0114  ldr w6, [x3, #44]
         0118  cmp w5, w6
         011c  b.lo 0x0130
         0120  mov w0, #0x0
         0124  mov x3, #0x0
@005c    0128  bl gc_collector
         012c  b 0x00b4
       > 0130  sub w4, w4, #0x4
         0134  orr w4, w4, #0x2
@005c    0138  str w4, [x0, #4]                         ; trap: corrupt GC heap
         013c  ldr x4, [x3, #32]
         0140  str w1, [x4, w5, uxtw #2]
         0144  add w5, w5, #0x1
@005c    0148  str w5, [x3, #40]
         014c  b 0x00b4
       > 0150  udf #0xc11f                              ; trap: call stack exhausted
@005c  > 0154  udf #0xc11f                              ; trap: undefined element: out of bounds table access

; grow (drc, armv8.1-a)
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

; fill (drc, armv8.1-a)
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
