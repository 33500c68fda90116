; new (drc, armv8.1-a)
; (param i32) (param i64) (param f32) (param f64) (param anyref) (result (ref $s))
; 48 instructions, 192 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
         0008  ldur x16, [x2, #16]
         000c  ldur x16, [x16]
         0010  add x16, x16, #0x20
         0014  cmp sp, x16
         0018  b.lo 0x00bc
         001c  sub sp, sp, #0x10
         0020  mov x7, x2
@0045    0024  ldr x0, [x2, #8]
         0028  ldr w2, [x0, #16]
         002c  ldr w1, [x0, #20]
         0030  add x6, x2, #0x28
         0034  cmp x6, x1
         0038  b.hi 0x0094
         003c  add x1, x2, #0x28
@0045    0040  str w1, [x0, #16]
         0044  mov x1, x7
         0048  ldr x6, [x1]
         004c  mov x7, #0x38000000
@0045    0050  str x7, [x6, x2]
         0054  ldr x0, [x0, #24]
         0058  mov w6, #0x1
         005c  lsr x7, x2, #0x3
         0060  strb w6, [x0, x7]
       > 0064  ldr x0, [x1]
         0068  add x0, x0, x2
         006c  strb w3, [x0, #8]
         0070  strh w3, [x0, #10]
         0074  str w3, [x0, #12]
         0078  str x4, [x0, #16]
         007c  str s0, [x0, #24]
         0080  str d1, [x0, #32]
         0084  str w5, [x0, #28]
@0048    0088  add sp, sp, #0x10
         008c  ldp x29, x30, [sp], #16
         0090  ret
@0045  > 0094  stur x5, [sp]
         0098  mov w0, #0x38000000
         009c  mov x2, x7
         00a0  mov x1, x2
         00a4  bl gc_alloc_struct
               ; frame of 16 bytes, references at [sp]
         00a8  ldr x0, [x2, #16]
         00ac  ldr x2, [x0, #32]
         00b0  ldur x5, [sp]
         00b4  mov x1, x7
         00b8  b 0x0064
       > 00bc  udf #0xc11f                              ; trap: call stack exhausted
