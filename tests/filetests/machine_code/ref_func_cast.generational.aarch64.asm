; open (generational, armv8.1-a)
; (param funcref) (result i32)
; 19 instructions, 76 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
@003e    0008  mov w4, #0x0
         000c  cbz x3, 0x001c
         0010  ldr w0, [x3, #16]
         0014  mov w4, #0x1
         0018  cbnz w0, 0x0028
       > 001c  uxtb w2, w4
@0041    0020  ldp x29, x30, [sp], #16
         0024  ret
@003e  > 0028  ldr x1, [x2, #16]
         002c  ldr x1, [x1, #40]
         0030  and w0, w0, #0xfffff
         0034  mov w0, w0
         0038  lsl x0, x0, #0x5
         003c  ldr w0, [x1, x0]
         0040  cmp w0, #0x1
         0044  cset x4, eq
         0048  b 0x001c

; final (generational, armv8.1-a)
; (param funcref) (result (ref null $final))
; 12 instructions, 48 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
@0046    0008  cbnz x3, 0x0014
         000c  mov x2, x3
         0010  b 0x0024
@0046  > 0014  ldr w4, [x3, #16]
         0018  cmp w4, #0x1
         001c  b.ne 0x002c
         0020  mov x2, x3
@0049  > 0024  ldp x29, x30, [sp], #16
         0028  ret
@0046  > 002c  udf #0xc11f                              ; trap: cast failure
