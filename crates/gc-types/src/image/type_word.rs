//! [`TypeWord`]: a reference of an image to a type, without the engine's index.

use crate::{TypeIndex, VMGcKind};

/// A number for a type that code needs: the type's index, or word 0 of the header of its objects.
/// Each engine has other indices. So code reads such a word from a table after the code, and the
/// table is filled when the code is published. The image has its own numbers for types.
///
/// It is the code that Cranelift emits for a symbol outside of the image. To load the word from the vmctx just
/// before each comparison was slower too: it took 1.07 of the time of constants.
///
/// # Examples
/// ```
/// use gc_types::{TypeIndex, TypeWord, VMGcKind};
///
/// // The image calls the type 0. In this engine it has the index 70.
/// let [in_image, in_engine] = [0, 70].map(|n| TypeIndex::new(n).unwrap());
/// assert_eq!(TypeWord::index(in_image).value(in_engine), 70);
/// let header = TypeWord::header(in_image, VMGcKind::StructRef);
/// assert_eq!(header.value(in_engine), in_engine.header_word(VMGcKind::StructRef));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TypeWord {
    ty: TypeIndex,
    kind: Option<VMGcKind>,
}

impl TypeWord {
    /// The index of the image's type `ty`.
    pub const fn index(ty: TypeIndex) -> TypeWord {
        TypeWord { ty, kind: None }
    }

    /// Word 0 of the headers of objects of the image's type `ty`, which are of `kind`.
    pub const fn header(ty: TypeIndex, kind: VMGcKind) -> TypeWord {
        TypeWord { ty, kind: Some(kind) }
    }

    /// The number of the type in the image.
    pub const fn ty(self) -> TypeIndex {
        self.ty
    }

    /// The word, if the type has the index `index`.
    pub const fn value(self, index: TypeIndex) -> u32 {
        match self.kind {
            None => index.as_u32(),
            Some(kind) => index.header_word(kind),
        }
    }

    /// A number from which [`from_code`](TypeWord::from_code) makes the word again.
    pub const fn code(self) -> u32 {
        let kind = match self.kind {
            None => 0,
            Some(kind) => kind.bits(),
        };
        (kind as u32) << VMGcKind::SHIFT | self.ty.as_u32()
    }

    /// The word with this code, if there is one.
    pub const fn from_code(code: u32) -> Option<TypeWord> {
        let Some(ty) = TypeIndex::new(code & TypeIndex::MAX) else { return None };
        match (code >> VMGcKind::SHIFT) as u8 {
            0 => Some(TypeWord::index(ty)),
            bits => match VMGcKind::from_bits(bits) {
                Some(kind) => Some(TypeWord::header(ty, kind)),
                None => None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_round_trip_and_words_are_of_the_engines_index() {
        let [ty, index] = [3, 70].map(|n| TypeIndex::new(n).unwrap());
        for word in [TypeWord::index(ty), TypeWord::header(ty, VMGcKind::ArrayRef)] {
            assert_eq!(TypeWord::from_code(word.code()), Some(word));
        }
        assert_eq!(TypeWord::index(ty).value(index), 70);
        let header = TypeWord::header(ty, VMGcKind::ArrayRef);
        assert_eq!(header.value(index), index.header_word(VMGcKind::ArrayRef));
        assert_eq!(TypeWord::from_code(31 << VMGcKind::SHIFT), None);
    }
}
