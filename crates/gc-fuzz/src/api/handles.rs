//! Calls that use handles: copies, handles that outlive their scopes, weak ones, finalizers, what is
//! attached, and collections.

use super::driver::{Driver, Fault, ended};
use super::host::MOST;
use super::ops::Op;
use super::world::{Handle, Weak, World, pick};
use crate::value::Referent;
use anyhow::{Context as _, Result, ensure};

impl<A: Driver> World<A> {
    /// A call with a handle.
    pub(super) fn handle_call(&mut self, cx: &mut A::Cx<'_>, op: Op) -> Result<()> {
        match op {
            Op::Equal { a, b } => return self.equal(cx, a, b),
            Op::Copy { from } => {
                let Handle { handle, value } = self.handle(from);
                let copy = handle.map(|handle| A::copy(cx, &handle)).transpose()?;
                return self.found(cx, copy, value);
            }
            Op::Delete { from } if !A::SCOPED => self.delete(from),
            Op::Attach { from } if A::ATTACHES => return self.attach_new(from),
            Op::Own { from } if self.owned.len() < MOST => {
                if let Handle { handle: Some(handle), value } = self.handle(from) {
                    self.owned.push((A::own(cx, &handle)?, value));
                }
            }
            Op::Unown { owned } => {
                if let Some(i) = pick(&self.owned, owned) {
                    let (owned, value) = &self.owned[i];
                    let (handle, value) = (A::unown(cx, owned)?, *value);
                    return self.found(cx, Some(handle), value);
                }
            }
            Op::CloneOwned { owned } if self.owned.len() < MOST => {
                if let Some(i) = pick(&self.owned, owned) {
                    let clone = self.owned[i].clone();
                    let same = A::same_owned(cx, &self.owned[i].0, &clone.0)?;
                    ensure!(same, "a clone differs");
                    self.owned.push(clone);
                }
            }
            Op::DropOwned { owned } => {
                if let Some(i) = pick(&self.owned, owned) {
                    self.owned.swap_remove(i);
                }
            }
            op if A::WEAK => return self.weak_call(cx, op),
            _ => {}
        }
        Ok(())
    }

    /// Compares two handles.
    fn equal(&mut self, cx: &mut A::Cx<'_>, a: u8, b: u8) -> Result<()> {
        let (a, b) = (self.handle(a), self.handle(b));
        self.check(cx, a.handle.as_ref(), a.value)?;
        let same = A::same(cx, a.handle.as_ref(), b.handle.as_ref())?;
        ensure!(same == (a.value == b.value), "{:?} is {:?}: {same}", a.value, b.value);
        Ok(())
    }

    /// Attaches a new token to what a handle refers to.
    pub(super) fn attach_new(&mut self, from: u8) -> Result<()> {
        let Handle { handle, value } = self.handle(from);
        let token = self.token();
        let number = token.number();
        let possible = !matches!(value, Referent::Null | Referent::I31(_));
        let attached = A::attach(handle.as_ref(), token);
        let Some(attached) = ended::<A, _>(attached, possible, Fault::Unattachable)? else {
            let times = self.ledger.times_dropped(number);
            ensure!(times == 1, "what could not be attached was dropped {times} times");
            return Ok(());
        };
        let attached = attached.context("the API attaches")?;
        if let Some(old) = self.attach(value, attached, number) {
            let times = self.ledger.times_dropped(old);
            let later = matches!(value, Referent::Object(_));
            ensure!(times == 1 || later && times == 0, "what was replaced is still attached");
        }
        Ok(())
    }

    /// A call with weak handles or finalizers.
    fn weak_call(&mut self, cx: &mut A::Cx<'_>, op: Op) -> Result<()> {
        match op {
            Op::Downgrade { from } if self.weak.len() < MOST => {
                if let Handle { handle: Some(handle), value } = self.handle(from) {
                    let weak = A::downgrade(cx, &handle)?.context("the API has weak handles")?;
                    self.weak.push(Weak::new(weak, value));
                }
            }
            Op::Upgrade { weak } => {
                let Some(i) = pick(&self.weak, weak) else { return Ok(()) };
                let weak = &self.weak[i];
                let (handle, value) = (A::upgrade(cx, &weak.weak)?, weak.value);
                weak.check(handle.is_none())?;
                if handle.is_some() {
                    return self.found(cx, handle, value);
                }
            }
            Op::AddFinalizer { from } if self.finalizers.len() < MOST => {
                if let Handle { handle: Some(handle), value } = self.handle(from)
                    && !matches!(value, Referent::I31(_))
                {
                    let token = self.token();
                    let number = token.number();
                    A::add_finalizer(cx, &handle, token)?;
                    self.finalizers.push(Weak::new(number, value));
                }
            }
            Op::NextFinalizable => {
                if let Some((object, token)) = A::next_finalizable(cx)? {
                    return self.finalized(cx, object, token);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Collects, if that is possible, and checks what lives.
    pub(super) fn gc(&mut self, cx: &mut A::Cx<'_>) -> Result<()> {
        match A::gc(cx, &self.own)? {
            Some(objects) => self.check_alive(objects),
            None => Ok(()),
        }
    }

    /// Collects. A dead object with a finalizer must be found then.
    pub(super) fn collect(&mut self, cx: &mut A::Cx<'_>) -> Result<()> {
        self.gc(cx)?;
        if self.some_finalizable() {
            let (object, token) = A::next_finalizable(cx)?.context("no dead object is found")?;
            self.finalized(cx, object, token)?;
        }
        Ok(())
    }
}
