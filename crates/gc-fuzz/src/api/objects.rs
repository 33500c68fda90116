//! Calls that make, read and write objects.

use super::driver::{Driver, Fault, ended};
use super::ops::Op;
use super::world::{Handle, World, index};
use crate::value::Referent;
use anyhow::{Result, bail};

/// The most elements of an array.
const LONGEST: u8 = 20;

impl<A: Driver> World<A> {
    /// Makes a value or an object.
    pub(super) fn make(&mut self, cx: &mut A::Cx<'_>, op: Op) -> Result<()> {
        if !A::is_open(&self.own) {
            return Ok(());
        }
        let (new, value) = match op {
            Op::Host { attached } => {
                let bare = A::ATTACHES && attached % 4 == 0;
                let token = (!bare).then(|| self.token());
                let number = token.as_ref().map(|token| token.number());
                let (new, attachment) = A::host(cx, &self.own, token)?;
                let value = Referent::Host(self.hosts);
                self.hosts += 1;
                if let (Some(attachment), Some(number)) = (attachment, number) {
                    self.attach(value, attachment, number);
                }
                (new, value)
            }
            Op::I31 { value } => {
                (A::i31(cx, &self.own, value.into())?, Referent::I31(value.into()))
            }
            Op::Struct { external, from } => {
                let (e, a) = (self.given(external), self.given(from));
                let number = self.objects.len() as i32;
                let (external, any) = (e.handle.as_ref(), a.handle.as_ref());
                let new = A::new_struct(cx, &self.own, number, external, any)?;
                (new, self.object(false, vec![e.value, a.value]))
            }
            Op::Array { len, from } => {
                let Handle { handle, value } = self.given(from);
                let (count, listed) = (u32::from(len % LONGEST), len & 0x80 != 0);
                let new = A::new_array(cx, &self.own, handle.as_ref(), count, listed)?;
                (new, self.object(true, vec![value; count as usize]))
            }
            op => bail!("{op:?} makes nothing"),
        };
        self.push(Some(new), value);
        Ok(())
    }

    /// A handle to a struct or an array, and its number.
    fn object_of(&self, byte: u8) -> Option<(A::Ref, usize)> {
        match self.handle(byte) {
            Handle { handle: Some(handle), value: Referent::Object(n) } => Some((handle, n)),
            _ => None,
        }
    }

    /// Reads a field or an element.
    pub(super) fn get(&mut self, cx: &mut A::Cx<'_>, object: u8, at: u8) -> Result<()> {
        let Some((handle, n)) = self.object_of(object) else { return Ok(()) };
        let (is_array, refs) = (self.objects[n].is_array, &self.objects[n].refs);
        let at = index(at, refs.len(), LONGEST);
        let expected = refs.get(at).copied();
        let read = A::read(cx, &handle, is_array, at);
        let read = ended::<A, _>(read, expected.is_some(), Fault::Index { is_array })?;
        match (read, expected) {
            (Some(read), Some(expected)) => self.found(cx, read, expected),
            _ => Ok(()),
        }
    }

    /// Overwrites a field or an element.
    pub(super) fn set(&mut self, cx: &mut A::Cx<'_>, object: u8, at: u8, from: u8) -> Result<()> {
        let Some((handle, n)) = self.object_of(object) else { return Ok(()) };
        let new = self.given(from);
        let is_array = self.objects[n].is_array;
        let refs = &mut self.objects[n].refs;
        let at = index(at, refs.len(), LONGEST);
        let written = A::write(cx, &handle, is_array, at, new.handle.as_ref());
        if ended::<A, _>(written, at < refs.len(), Fault::Index { is_array })?.is_some() {
            refs[at] = new.value;
        }
        Ok(())
    }
}
