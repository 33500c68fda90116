//! Operations on arrays, as text.

use super::{Function, has_elements, is_object};
use crate::table_ops::ops::Op;
use crate::table_ops::schema::{
    ARRAYS, Cast, SEGMENTS, TABLES, Table, Ty, cast, index, is_behind, pick,
};

impl Function {
    /// An access of the element whose index is the length.
    fn behind(&mut self, object: u8, kind: u8, how: u8) {
        let Some((array, element)) = ARRAYS.get(pick(kind, 4)) else {
            let Table { name, ty, .. } = TABLES[pick(object, 3)];
            let (end, null) =
                (format!("(table.size ${name})"), format!("(ref.null {})", ty.heap()));
            return self.line(&match how % 3 {
                0 => format!("(drop (table.get ${name} {end}))"),
                1 => format!("(table.set ${name} {end} {null})"),
                _ => format!("(table.fill ${name} {end} {null} (i32.const 1))"),
            });
        };
        let object = self.object(object, *array, Cast::Test, "");
        let (heap, end) = (array.heap(), format!("(array.len {object})"));
        let null = format!("(ref.null {})", element.heap());
        let statement = match how % 3 {
            0 => format!("(drop (array.get {heap} {object} {end}))"),
            1 => format!("(array.set {heap} {object} {end} {null})"),
            _ => format!("(array.fill {heap} {object} {end} {null} (i32.const 1))"),
        };
        self.guarded(&is_object(&object), &statement, Cast::Test);
    }

    pub(super) fn array_op(&mut self, op: &Op) {
        match *op {
            Op::ElementGet { object, kind, index: at, to, how } => {
                let ((array, element), at) = (ARRAYS[pick(kind, 3)], index(at));
                let object = self.object(object, array, cast(how), "");
                let value = format!("(array.get {} {object} (i32.const {at}))", array.heap());
                let line = self.set(to, value, element, cast(how));
                self.guarded(&is_longer(&object, at + 1), &line, cast(how));
            }
            Op::ElementSet { object, kind, index: at, from, how } => {
                let ((array, element), at) = (ARRAYS[pick(kind, 3)], index(at));
                let object = self.object(object, array, cast(how), "");
                let value = self.local(from, element, cast(how));
                let line =
                    format!("(array.set {} {object} (i32.const {at}) {value})", array.heap());
                self.guarded(&is_longer(&object, at + 1), &line, cast(how));
            }
            Op::ArrayCopy { object, other, kind, at, start, len, how } => {
                let (at, start, len) = (index(at), index(start), index(len));
                // From an array of structs to one of the same type, or to one of any references.
                let (to, from) = match kind % 4 {
                    3 => (Ty::Anys, Ty::Structs),
                    kind => (ARRAYS[usize::from(kind)].0, ARRAYS[usize::from(kind)].0),
                };
                let object = self.object(object, to, cast(how), "");
                let other = self.object(other, from, cast(how), "2");
                let line = format!(
                    "(array.copy {} {} {object} (i32.const {at}) {other} (i32.const {start})
                        (i32.const {len}))",
                    to.heap(),
                    from.heap()
                );
                let both = format!(
                    "(i32.and {} {})",
                    is_longer(&object, at + len),
                    is_longer(&other, start + len)
                );
                self.guarded(&both, &line, cast(how));
            }
            Op::ArrayFill { object, kind, at, len, from, how } => {
                let ((array, element), at, len) = (ARRAYS[pick(kind, 3)], index(at), index(len));
                let object = self.object(object, array, cast(how), "");
                let value = self.local(from, element, cast(how));
                let line = format!(
                    "(array.fill {} {object} (i32.const {at}) {value} (i32.const {len}))",
                    array.heap()
                );
                self.guarded(&is_longer(&object, at + len), &line, cast(how));
            }
            Op::ArrayInit { object, segment, at, start, len, how } => {
                let number = pick(segment, SEGMENTS.len());
                let array = SEGMENTS[number].array;
                let (at, start, len) = (index(at), index(start), index(len));
                let object = self.object(object, array, cast(how), "");
                let line = format!(
                    "(array.init_elem {} $seg{number} {object} (i32.const {at}) (i32.const {start})
                        (i32.const {len}))",
                    array.heap()
                );
                let elements = has_elements(number, start, len);
                let both = format!("(i32.and {} {elements})", is_longer(&object, at + len));
                self.guarded(&both, &line, cast(how));
            }
            Op::Behind { object, kind, how } if is_behind(how) => self.behind(object, kind, how),
            Op::Behind { .. } => {}
            _ => unreachable!("no operation on arrays"),
        }
    }
}

/// Whether `object` is an array of at least `len` elements.
fn is_longer(object: &str, len: u32) -> String {
    format!(
        "(if (result i32) (ref.is_null {object}) (then (i32.const 0))
            (else (i32.le_u (i32.const {len}) (array.len {object}))))"
    )
}
