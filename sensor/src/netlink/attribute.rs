//! Netlink attributes: type, length and value, one after the other, filled up to four bytes. Pure.

use super::ALIGNMENT;

/// Length and type.
const HEADER_BYTES: usize = 4;
/// Two bits of the type say what is in the value (`NLA_F_NESTED`, `NLA_F_NET_BYTEORDER`).
const TYPE_MASK: u16 = 0x3fff;

/// Walks attributes; it ends early at one that does not fit.
#[derive(Debug, Clone)]
pub struct Attributes<'a>(pub &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = self.0;
        let length = usize::from(u16_at(bytes, 0)?);
        let kind = u16_at(bytes, 2)? & TYPE_MASK;
        let value = bytes.get(HEADER_BYTES..length)?;
        self.0 = bytes
            .get(length.next_multiple_of(ALIGNMENT)..)
            .unwrap_or_default();
        Some((kind, value))
    }
}

impl<'a> Attributes<'a> {
    /// The value of the first attribute of this type.
    pub fn value(&self, wanted: u16) -> Option<&'a [u8]> {
        let mut all = self.clone();
        all.find(|(kind, _)| *kind == wanted)
            .map(|(_, value)| value)
    }

    /// The attributes in the first attribute of this type.
    pub fn nested(&self, wanted: u16) -> Option<Self> {
        self.value(wanted).map(Self)
    }
}

fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    let field = bytes.get(offset..offset + 2)?;
    Some(u16::from_ne_bytes(field.try_into().ok()?))
}

/// An attribute of a request.
pub fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(HEADER_BYTES + value.len()).unwrap_or(u16::MAX);
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walks_filled_up_values() {
        let bytes = [attribute(1, b"x"), attribute(0x8002, b"12345")].concat();
        let all = Attributes(&bytes);
        assert_eq!(
            all.clone().collect::<Vec<_>>(),
            [(1, &b"x"[..]), (2, &b"12345"[..])]
        );
        assert_eq!(all.value(2), Some(&b"12345"[..]));
        assert_eq!(all.value(3), None);
    }

    #[test]
    fn ends_at_what_does_not_fit() {
        for bytes in [
            &[][..],
            &[4, 0, 1],
            &[3, 0, 1, 0, 0],
            &[0, 0, 0, 0],
            &[9, 0, 1, 0, 7],
        ] {
            assert_eq!(Attributes(bytes).count(), 0, "{bytes:?}");
        }
        // The last one need not be filled up.
        assert_eq!(Attributes(&[5, 0, 1, 0, 7]).count(), 1);
    }
}
