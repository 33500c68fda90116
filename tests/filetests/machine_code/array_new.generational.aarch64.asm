; filled (generational, armv8.1-a)
; (param i32) (param i32) (result (ref $bytes))
; 54 instructions, 216 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
         0008  ldur x16, [x2, #16]
         000c  ldur x16, [x16]
         0010  add x16, x16, #0x10
         0014  cmp sp, x16
         0018  b.lo 0x00d4
@0070    001c  ldr x0, [x2, #8]
         0020  ldr w5, [x0, #16]
         0024  mov x7, x5
         0028  ldr w1, [x0, #20]
         002c  mov w5, w4
         0030  mov x6, x4
         0034  add x4, x5, #0x13
         0038  and x4, x4, #0xfffffffffffffff8
         003c  mov x5, x7
         0040  add x4, x5, x4
         0044  cmp x4, x1
         0048  b.hi 0x00b8
         004c  mov x1, x6
@0070    0050  str w4, [x0, #16]
         0054  ldr x0, [x2]
         0058  mov x4, #0x58000000
         005c  mov x5, x7
@0070    0060  add x5, x0, x5
         0064  mov x6, x7
         0068  str x4, [x0, x6]
         006c  str w1, [x5, #8]
       > 0070  ldr x0, [x2]
         0074  mov w4, #0x0
         0078  ldr x2, [x2, #32]
@0070    007c  cbnz w1, 0x0088
         0080  mov x2, x7
         0084  b 0x00ac
@0070  > 0088  ldrb w5, [x2]                            ; trap: interrupt
         008c  mov x5, x7
         0090  add w5, w5, w4
         0094  add x5, x0, w5
         0098  strb w3, [x5, #12]
         009c  add w4, w4, #0x1
@0070    00a0  cmp w4, w1
         00a4  b.ne 0x0088
         00a8  mov x2, x7
       > 00ac  mov x2, x7
@0073    00b0  ldp x29, x30, [sp], #16
         00b4  ret
@0070  > 00b8  mov w0, #0x58000000
         00bc  mov x1, x6
         00c0  bl gc_alloc_array
         00c4  ldr x0, [x2, #16]
         00c8  ldr x0, [x0, #32]
         00cc  mov x7, x0
         00d0  b 0x0070
       > 00d4  udf #0xc11f                              ; trap: call stack exhausted

; default (generational, armv8.1-a)
; (param i32) (result (ref $refs))
; 42 instructions, 168 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
         0008  ldur x16, [x2, #16]
         000c  ldur x16, [x16]
         0010  add x16, x16, #0x10
         0014  cmp sp, x16
         0018  b.lo 0x00a4
@0078    001c  ldr x0, [x2, #8]
         0020  mov x6, x2
         0024  ldr w2, [x0, #16]
         0028  ldr w1, [x0, #20]
         002c  mov w4, w3
         0030  mov x5, x3
         0034  mov x3, #0x13
         0038  add x3, x3, x4, lsl #2
         003c  and x3, x3, #0xfffffffffffffff8
         0040  add x3, x2, x3
         0044  cmp x3, x1
         0048  b.hi 0x0080
         004c  mov x4, x2
         0050  mov x2, x6
         0054  mov x1, x5
@0078    0058  str w3, [x0, #16]
         005c  ldr x0, [x2]
         0060  mov w3, #0x1
         0064  movk w3, #0x5800, lsl #16
         0068  mov x2, x4
@0078    006c  add x4, x0, x2
         0070  str x3, [x0, x2]
         0074  str w1, [x4, #8]
@007b  > 0078  ldp x29, x30, [sp], #16
         007c  ret
@0078  > 0080  mov w0, #0x1
         0084  movk w0, #0x5800, lsl #16
         0088  mov x1, x5
         008c  mov x2, x6
         0090  bl gc_alloc_array
         0094  ldr x0, [x2, #16]
         0098  ldr x2, [x0, #32]
         009c  mov x4, x2
         00a0  b 0x0078
       > 00a4  udf #0xc11f                              ; trap: call stack exhausted

; refs (generational, armv8.1-a)
; (param anyref) (param i32) (result (ref $refs))
; 84 instructions, 336 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
         0008  ldur x16, [x2, #16]
         000c  ldur x16, [x16]
         0010  add x16, x16, #0x20
         0014  cmp sp, x16
         0018  b.lo 0x014c
         001c  sub sp, sp, #0x10
@0082    0020  ldr x0, [x2, #8]
         0024  ldr w5, [x0, #16]
         0028  mov x14, x5
         002c  ldr w1, [x0, #20]
         0030  mov w5, w4
         0034  mov x6, x4
         0038  mov x4, #0x13
         003c  add x4, x4, x5, lsl #2
         0040  and x4, x4, #0xfffffffffffffff8
         0044  mov x5, x14
         0048  add x4, x5, x4
         004c  cmp x4, x1
         0050  b.hi 0x00e0
         0054  mov x1, x6
@0082    0058  str w4, [x0, #16]
         005c  ldr x0, [x2]
         0060  mov w4, #0x1
         0064  movk w4, #0x5800, lsl #16
         0068  mov x13, x14
@0082    006c  add x5, x0, x13
         0070  mov x15, x14
         0074  str x4, [x0, x15]
         0078  str w1, [x5, #8]
       > 007c  ldr x0, [x2]
         0080  mov w4, #0x0
         0084  ldr x5, [x2, #32]
         0088  mov x6, x14
@0082    008c  sub w6, w6, #0x10, lsl #12
         0090  mov w7, #0x4000000
         0094  cbnz w1, 0x00a0
         0098  mov x2, x14
         009c  b 0x00d0
@0082  > 00a0  ldrb w8, [x5]                            ; trap: interrupt
         00a4  mov x8, x14
         00a8  add w9, w8, w4, lsl #2
         00ac  mov w8, w9
         00b0  add x9, x0, w9
         00b4  str w3, [x9, #12]
         00b8  cmp w6, w7
         00bc  b.hs 0x0108
       > 00c0  add w4, w4, #0x1
@0082    00c4  cmp w4, w1
         00c8  b.ne 0x00a0
         00cc  mov x2, x14
       > 00d0  mov x2, x14
@0085    00d4  add sp, sp, #0x10
         00d8  ldp x29, x30, [sp], #16
         00dc  ret
@0082  > 00e0  stur x3, [sp]
         00e4  mov w0, #0x1
         00e8  movk w0, #0x5800, lsl #16
         00ec  mov x1, x6
         00f0  bl gc_alloc_array
               ; frame of 16 bytes, references at [sp]
         00f4  ldr x0, [x2, #16]
         00f8  ldr x5, [x0, #32]
         00fc  mov x14, x5
         0100  ldur x3, [sp]
         0104  b 0x007c
       > 0108  sub w9, w3, #0x10, lsl #12
         010c  mov w10, #0x4000000
@0082    0110  cmp w9, w10
         0114  b.lo 0x0124
         0118  ldr x9, [x2, #8]
         011c  ldr w9, [x9, #24]
         0120  tbz w9, #0x1, 0x00c0
       > 0124  ldr x9, [x2, #8]
         0128  ldr x10, [x9, #48]
         012c  ldr x9, [x9, #64]
         0130  mov w11, #0x1
         0134  add x8, x8, #0xc
         0138  lsr x12, x8, #0x7
@0082    013c  strb w11, [x10, x12]
         0140  lsr x8, x8, #0xd
@0082    0144  strb w11, [x9, x8]
         0148  b 0x00c0
       > 014c  udf #0xc11f                              ; trap: call stack exhausted

; fixed (generational, armv8.1-a)
; (param anyref) (result (ref $refs))
; 43 instructions, 172 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
         0008  ldur x16, [x2, #16]
         000c  ldur x16, [x16]
         0010  add x16, x16, #0x20
         0014  cmp sp, x16
         0018  b.lo 0x00a8
         001c  sub sp, sp, #0x10
         0020  mov x5, x2
@008c    0024  ldr x0, [x2, #8]
         0028  ldr w2, [x0, #16]
         002c  ldr w1, [x0, #20]
         0030  add x4, x2, #0x18
         0034  cmp x4, x1
         0038  b.hi 0x007c
         003c  add x1, x2, #0x18
@008c    0040  str w1, [x0, #16]
         0044  mov x0, x5
         0048  ldr x1, [x0]
         004c  mov w4, #0x1
         0050  movk w4, #0x5800, lsl #16
@008c    0054  add x5, x1, x2
         0058  str x4, [x1, x2]
         005c  mov w1, #0x2
@008c    0060  str w1, [x5, #8]
       > 0064  ldr x0, [x0]
         0068  add x0, x0, x2
         006c  str w3, [x0, #12]
@0090    0070  add sp, sp, #0x10
         0074  ldp x29, x30, [sp], #16
         0078  ret
@008c  > 007c  stur x3, [sp]
         0080  mov w0, #0x1
         0084  movk w0, #0x5800, lsl #16
         0088  mov w1, #0x2
         008c  mov x2, x5
         0090  bl gc_alloc_array
               ; frame of 16 bytes, references at [sp]
         0094  ldr x0, [x2, #16]
         0098  ldr x2, [x0, #32]
         009c  ldur x3, [sp]
         00a0  mov x0, x5
         00a4  b 0x0064
       > 00a8  udf #0xc11f                              ; trap: call stack exhausted

; data (generational, armv8.1-a)
; (result (ref $bytes))
; 53 instructions, 212 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
         0008  ldur x16, [x2, #16]
         000c  ldur x16, [x16]
         0010  add x16, x16, #0x10
         0014  cmp sp, x16
         0018  b.lo 0x00d0
         001c  mov x4, x2
@0097    0020  ldr x0, [x2, #8]
         0024  ldr w2, [x0, #16]
         0028  ldr w1, [x0, #20]
         002c  add x3, x2, #0x28
         0030  cmp x3, x1
         0034  b.hi 0x00b0
         0038  add x1, x2, #0x28
@0097    003c  str w1, [x0, #16]
         0040  mov x0, x4
         0044  ldr x1, [x0]
         0048  mov x4, #0x58000000
@0097    004c  add x3, x1, x2
         0050  str x4, [x1, x2]
         0054  mov w1, #0x15
@0097    0058  str w1, [x3, #8]
       > 005c  ldr x0, [x0]
         0060  mov x1, #0x6164
         0064  movk x1, #0x6174, lsl #16
         0068  movk x1, #0x7320, lsl #32
         006c  movk x1, #0x6765, lsl #48
         0070  add x3, x0, #0xc
         0074  str x1, [x3, x2]
         0078  mov x1, #0x656d
         007c  movk x1, #0x746e, lsl #16
         0080  movk x1, #0x7420, lsl #32
         0084  movk x1, #0x6168, lsl #48
         0088  add x3, x0, #0x14
         008c  str x1, [x3, x2]
         0090  mov x1, #0x6874
         0094  movk x1, #0x7461, lsl #16
         0098  movk x1, #0x6920, lsl #32
         009c  movk x1, #0x2073, lsl #48
         00a0  add x0, x0, #0x19
         00a4  str x1, [x0, x2]
@009b    00a8  ldp x29, x30, [sp], #16
         00ac  ret
@0097  > 00b0  mov w0, #0x58000000
@0095    00b4  mov w1, #0x15
         00b8  mov x2, x4
@0097    00bc  bl gc_alloc_array
         00c0  ldr x0, [x2, #16]
         00c4  ldr x2, [x0, #32]
         00c8  mov x0, x4
         00cc  b 0x005c
       > 00d0  udf #0xc11f                              ; trap: call stack exhausted
