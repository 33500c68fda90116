; number (generational, armv8.1-a)
; (param (ref null $s)) (result i64)
; 7 instructions, 28 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
@0061    0008  ldr x5, [x2]
         000c  add x5, x5, x3
         0010  ldr x2, [x5, #16]                        ; trap: null reference
@0065    0014  ldp x29, x30, [sp], #16
         0018  ret

; signed (generational, armv8.1-a)
; (param (ref $s)) (result i32)
; 7 instructions, 28 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
@006a    0008  ldr x5, [x2]
         000c  add x5, x5, x3
         0010  ldrsb x2, [x5, #8]                       ; trap: null reference
@006e    0014  ldp x29, x30, [sp], #16
         0018  ret

; unsigned (generational, armv8.1-a)
; (param (ref $s)) (result i32)
; 7 instructions, 28 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
@0073    0008  ldr x5, [x2]
         000c  add x5, x5, x3
         0010  ldrb w2, [x5, #8]                        ; trap: null reference
@0077    0014  ldp x29, x30, [sp], #16
         0018  ret

; reference (generational, armv8.1-a)
; (param (ref null $s)) (result anyref)
; 7 instructions, 28 bytes
         0000  stp x29, x30, [sp, #-16]!
         0004  mov x29, sp
@007c    0008  ldr x5, [x2]
         000c  add x5, x5, x3
         0010  ldr w2, [x5, #12]                        ; trap: null reference
@0080    0014  ldp x29, x30, [sp], #16
         0018  ret
