; open (generational, armv8.1-a)
; (param anyref) (result (ref $open))
; 25 instructions, 100 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
@006b    0008  ror w12, w3, #0x1
         000c  cmp w12, #0x0
         0010  b.le 0x005c
         0014  ldr x14, [x2]
         0018  ldr w14, [x14, x3]                       ; trap: corrupt GC heap
         001c  mov w15, #0x38000000
         0020  cmp w14, w15
         0024  b.ne 0x0034
         0028  mov x2, x3
@006e  > 002c  ldp x29, x30, [sp], #16
         0030  ret
@006b  > 0034  ldr x0, [x2, #16]
         0038  ldr x0, [x0, #40]
         003c  and w1, w14, #0xfffff
         0040  mov w1, w1
         0044  lsl x1, x1, #0x5
         0048  ldr w0, [x0, x1]
         004c  cmp w0, #0x1
         0050  b.ne 0x0060
         0054  mov x2, x3
         0058  b 0x002c
       > 005c  udf #0xc11f                              ; trap: cast failure
       > 0060  udf #0xc11f                              ; trap: cast failure

; final (generational, armv8.1-a)
; (param (ref $open)) (result (ref $final))
; 12 instructions, 48 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
@0073    0008  ldr x6, [x2]
         000c  ldr w6, [x6, x3]                         ; trap: corrupt GC heap
         0010  mov w7, #0x1
         0014  movk w7, #0x3800, lsl #16
         0018  cmp w6, w7
         001c  b.ne 0x002c
         0020  mov x2, x3
@0076    0024  ldp x29, x30, [sp], #16
         0028  ret
@0073  > 002c  udf #0xc11f                              ; trap: cast failure

; on_cast (generational, armv8.1-a)
; (param anyref) (result i32)
; 17 instructions, 68 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
@007e    0008  ror w9, w3, #0x1
         000c  cmp w9, #0x0
         0010  b.le 0x0038
         0014  ldr x12, [x2]
         0018  ldr w12, [x12, x3]                       ; trap: corrupt GC heap
         001c  mov w13, #0x1
         0020  movk w13, #0x3800, lsl #16
         0024  cmp w12, w13
         0028  b.ne 0x0038
         002c  mov w2, #0x1
@008c    0030  ldp x29, x30, [sp], #16
         0034  ret
       > 0038  mov w2, #0x0
@0087    003c  ldp x29, x30, [sp], #16
         0040  ret

; on_cast_fail (generational, armv8.1-a)
; (param (ref $open)) (result i32)
; 14 instructions, 56 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
@0094    0008  ldr x8, [x2]
         000c  ldr w8, [x8, x3]                         ; trap: corrupt GC heap
         0010  mov w9, #0x1
         0014  movk w9, #0x3800, lsl #16
         0018  cmp w8, w9
         001c  b.eq 0x002c
@00a0    0020  mov w2, #0x0
@00a2    0024  ldp x29, x30, [sp], #16
         0028  ret
@0094  > 002c  mov w2, #0x1
@009d    0030  ldp x29, x30, [sp], #16
         0034  ret
