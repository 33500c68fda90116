; new (generational, armv8.1-a)
; (param i32) (param i64) (param f32) (param f64) (param anyref) (result (ref $s))
; 45 instructions, 180 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
         0008  ldur x16, [x2, #16]
         000c  ldur x16, [x16]
         0010  add x16, x16, #0x20
         0014  cmp sp, x16
         0018  b.lo 0x00b0
         001c  sub sp, sp, #0x10
@0045    0020  ldr x0, [x2, #8]
         0024  ldr w8, [x0, #16]
         0028  ldr w1, [x0, #20]
         002c  mov x6, x8
         0030  add x7, x6, #0x28
         0034  cmp x7, x1
         0038  b.hi 0x008c
         003c  mov x1, x8
         0040  add x1, x1, #0x28
@0045    0044  str w1, [x0, #16]
         0048  ldr x0, [x2]
         004c  mov x1, #0x38000000
         0050  mov x6, x8
@0045    0054  str x1, [x0, x6]
       > 0058  ldr x0, [x2]
         005c  mov x2, x8
         0060  add x0, x0, x2
         0064  strb w3, [x0, #8]
         0068  strh w3, [x0, #10]
         006c  str w3, [x0, #12]
         0070  str x4, [x0, #16]
         0074  str s0, [x0, #24]
         0078  str d1, [x0, #32]
         007c  str w5, [x0, #28]
@0048    0080  add sp, sp, #0x10
         0084  ldp x29, x30, [sp], #16
         0088  ret
@0045  > 008c  stur x5, [sp]
         0090  mov w0, #0x38000000
         0094  mov x1, x2
         0098  bl gc_alloc_struct
               ; frame of 16 bytes, references at [sp]
         009c  ldr x0, [x2, #16]
         00a0  ldr x0, [x0, #32]
         00a4  mov x8, x0
         00a8  ldur x5, [sp]
         00ac  b 0x0058
       > 00b0  udf #0xc11f                              ; trap: call stack exhausted
