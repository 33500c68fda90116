; direct (generational, armv8.1-a)
; (param anyref) (result anyref)
; 5 instructions, 20 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
         0008  mov x2, x3
@0066    000c  ldp x29, x30, [sp], #16
         0010  ret

; direct (generational, armv8.1-a)
; (param anyref) (result i32)
; 24 instructions, 96 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
@006d    0008  ror w12, w3, #0x1
         000c  cmp w12, #0x0
         0010  b.le 0x002c
         0014  ldr x15, [x2]
         0018  ldr w15, [x15, x3]                       ; trap: corrupt GC heap
         001c  mov w0, #0x18000000
         0020  and w15, w15, #0x18000000
         0024  cmp w15, w0
         0028  b.ne 0x0058
@0072  > 002c  cmp w12, #0x0
         0030  b.le 0x004c
         0034  ldr x0, [x2]
         0038  ldr w0, [x0, x3]                         ; trap: corrupt GC heap
         003c  mov w1, #0x18000000
@0072    0040  and w0, w0, #0x18000000
         0044  cmp w0, w1
         0048  b.ne 0x005c
       > 004c  mov w2, #0x1
@0076    0050  ldp x29, x30, [sp], #16
         0054  ret
@006d  > 0058  udf #0xc11f                              ; trap: cast failure
@0072  > 005c  udf #0xc11f                              ; trap: cast failure

; import (generational, armv8.1-a)
; (param anyref) (result anyref)
; 18 instructions, 72 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
         0008  ldur x16, [x2, #16]
         000c  ldur x16, [x16]
         0010  add x16, x16, #0x20
         0014  cmp sp, x16
         0018  b.lo 0x0044
         001c  sub sp, sp, #0x10
         0020  stur x2, [sp]
@007b    0024  stur x3, [sp, #8]
         0028  ldr x8, [x2, #48]
         002c  ldr x2, [x2, #56]
         0030  blr x8
               ; frame of 16 bytes, references at [sp, #8]
@0080    0034  ldur x2, [sp, #8]
         0038  add sp, sp, #0x10
         003c  ldp x29, x30, [sp], #16
         0040  ret
       > 0044  udf #0xc11f                              ; trap: call stack exhausted

; ref (generational, armv8.1-a)
; (param anyref) (param (ref null $f)) (result anyref)
; 18 instructions, 72 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
         0008  ldur x16, [x2, #16]
         000c  ldur x16, [x16]
         0010  add x16, x16, #0x20
         0014  cmp sp, x16
         0018  b.lo 0x0044
         001c  sub sp, sp, #0x10
         0020  stur x2, [sp]
@0087    0024  ldr x8, [x4]                             ; trap: null reference
         0028  ldr x2, [x4, #8]
         002c  stur x3, [sp, #8]
         0030  blr x8
               ; frame of 16 bytes, references at [sp, #8]
@008c    0034  ldur x2, [sp, #8]
         0038  add sp, sp, #0x10
         003c  ldp x29, x30, [sp], #16
         0040  ret
       > 0044  udf #0xc11f                              ; trap: call stack exhausted

; indirect (generational, armv8.1-a)
; (param anyref) (param i32) (result anyref)
; 27 instructions, 108 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
         0008  ldur x16, [x2, #16]
         000c  ldur x16, [x16]
         0010  add x16, x16, #0x20
         0014  cmp sp, x16
         0018  b.lo 0x0060
         001c  sub sp, sp, #0x10
         0020  stur x2, [sp]
@0093    0024  mov w12, w4
         0028  cmp x12, #0x4
         002c  b.hs 0x0064
         0030  ldr x14, [x2, #72]
         0034  ldr x14, [x14, w4, uxtw #3]
         0038  ldr w15, [x14, #16]                      ; trap: uninitialized element
         003c  cbnz w15, 0x0068
         0040  ldr x15, [x14]
         0044  ldr x2, [x14, #8]
         0048  stur x3, [sp, #8]
         004c  blr x15
               ; frame of 16 bytes, references at [sp, #8]
@0099    0050  ldur x2, [sp, #8]
         0054  add sp, sp, #0x10
         0058  ldp x29, x30, [sp], #16
         005c  ret
       > 0060  udf #0xc11f                              ; trap: call stack exhausted
@0093  > 0064  udf #0xc11f                              ; trap: undefined element: out of bounds table access
       > 0068  udf #0xc11f                              ; trap: indirect call type mismatch
