; sum (generational, armv8.1-a)
; (param $from i32) (param $to i32) (result i64) (local 2 $sum)
; 17 instructions, 68 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
@0028    0008  ldr x13, [x2, #48]
         000c  mov x5, #0x0
         0010  ldr x14, [x2, #32]
@002e  > 0014  ldrb w15, [x14]                          ; trap: interrupt
         0018  add x15, x13, w3
         001c  ldr x15, [x15, #8]                       ; trap: out of bounds memory access
         0020  add w3, w3, #0x8
         0024  mov x2, x5
@0031    0028  add x2, x2, x15
@0040    002c  cmp w3, w4
         0030  b.hs 0x003c
         0034  mov x5, x2
         0038  b 0x0014
@0045  > 003c  ldp x29, x30, [sp], #16
         0040  ret

; grow (generational, armv8.1-a)
; (param i32) (result i32)
; 15 instructions, 60 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
         0008  ldur x16, [x2, #16]
         000c  ldur x16, [x16]
         0010  add x16, x16, #0x10
         0014  cmp sp, x16
         0018  b.lo 0x0038
@004a    001c  mov w0, #0x0
         0020  mov w1, w3
         0024  bl memory_grow
         0028  ldr x7, [x2, #16]
         002c  ldr x2, [x7, #32]
@004c    0030  ldp x29, x30, [sp], #16
         0034  ret
       > 0038  udf #0xc11f                              ; trap: call stack exhausted

; far (generational, armv8.1-a)
; (param i32) (result i32)
; 15 instructions, 60 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
@0051    0008  ldr x10, [x2, #48]
         000c  ldr x11, [x2, #56]
         0010  mov w12, #0x1
         0014  movk w12, #0x8000, lsl #16
         0018  add x12, x12, w3
@0051    001c  cmp x12, x11
         0020  b.hi 0x0038
         0024  mov x12, #0x80000000
         0028  add x12, x12, w3
         002c  ldrb w2, [x10, x12]                      ; trap: out of bounds memory access
@0058    0030  ldp x29, x30, [sp], #16
         0034  ret
@0051  > 0038  udf #0xc11f                              ; trap: out of bounds memory access
