//! Undoes gzip and deflate (RFC 1952, 1951 and 1950), as a reader with a fixed memory of some 40 KiB.
//!
//! Written for size: it takes some 6 KiB of the binary where the crate miniz_oxide takes 13, and reads codes bit by bit. It
//! limits nothing by itself: the caller stops to read where enough has come.

use std::io::{self, Read};

use super::meter::Misbehaviour;

/// How far back a copy may reach (RFC 1951, 2).
const WINDOW: usize = 32 * 1024;

const INPUT: usize = 4 * 1024;

/// The message about bytes that no compressor makes.
pub(super) const DAMAGED: &str = "compressed body is damaged or incomplete";

/// The wrapping of the compressed bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Container {
    Gzip,
    Zlib,
}

/// Decompresses what `source` brings. Bytes that do not begin as the container does are passed on as they are: some
/// servers and proxies label bodies that they do not compress.
pub(super) struct Inflate<R> {
    source: R,
    container: Container,
    input: Box<[u8]>,
    /// The bytes of `input` that are not used yet.
    unused: std::ops::Range<usize>,
    bits: u32,
    bit_count: u32,
    window: Box<[u8]>,
    /// Where the next byte goes in the window, and how many bytes are in it.
    at: usize,
    filled: usize,
    state: State,
    is_last_block: bool,
    is_raw: bool,
    literals: Huffman,
    distances: Huffman,
    check: Check,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Start,
    /// Nothing is compressed; the bytes of the start are in the window.
    Plain {
        peeked: usize,
    },
    Block,
    Stored {
        left: usize,
    },
    Codes,
    Copy {
        distance: usize,
        left: usize,
    },
    Trailer,
    End,
}

impl<R: Read> Inflate<R> {
    pub(super) fn new(source: R, container: Container) -> Self {
        Self {
            source,
            container,
            input: vec![0; INPUT].into(),
            unused: 0..0,
            bits: 0,
            bit_count: 0,
            window: vec![0; WINDOW].into(),
            at: 0,
            filled: 0,
            state: State::Start,
            is_last_block: false,
            is_raw: false,
            literals: Huffman::default(),
            distances: Huffman::default(),
            check: Check::default(),
        }
    }

    // ---- Bytes and bits ------------------------------------------------------------------------------------------

    fn next_byte(&mut self) -> io::Result<Option<u8>> {
        while self.unused.is_empty() {
            match self.source.read(&mut self.input) {
                Ok(0) => return Ok(None),
                Ok(count) => self.unused = 0..count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.unused.next().map(|at| self.input[at]))
    }

    fn byte(&mut self) -> io::Result<u8> {
        self.next_byte()?.ok_or_else(damaged)
    }

    /// Up to 16 bits, the lowest first.
    fn take(&mut self, count: u32) -> io::Result<usize> {
        while self.bit_count < count {
            self.bits |= u32::from(self.byte()?) << self.bit_count;
            self.bit_count += 8;
        }
        let value = self.bits & ((1 << count) - 1);
        self.bits >>= count;
        self.bit_count -= count;
        Ok(value as usize)
    }

    /// Drops the bits up to the next byte; no whole byte is among them, since none is read ahead.
    fn align(&mut self) {
        (self.bits, self.bit_count) = (0, 0);
    }

    /// A number of four bytes, the lowest first.
    fn number(&mut self) -> io::Result<u32> {
        Ok(u32::from_le_bytes([self.byte()?, self.byte()?, self.byte()?, self.byte()?]))
    }

    // ---- The container -------------------------------------------------------------------------------------------

    fn start(&mut self) -> io::Result<State> {
        let mut peeked = 0;
        while peeked < 2
            && let Some(byte) = self.next_byte()?
        {
            self.window[peeked] = byte;
            peeked += 1;
        }
        let [first, second] = [self.window[0], self.window[1]];
        let is_compressed = match self.container {
            Container::Gzip => (first, second) == (0x1f, 0x8b),
            // Method 8, and a check of both bytes (RFC 1950, 2.2). A preset dictionary is never used on the web.
            Container::Zlib => first & 0x0f == 8 && u16::from_be_bytes([first, second]) % 31 == 0 && second & 0x20 == 0,
        };
        if self.container == Container::Zlib && !is_compressed && self.is_raw_after([first, second]) {
            // Some servers leave out the container (RFC 9110, 8.4.1.2), so there is no check sum either.
            self.unused.start -= 2;
            self.is_raw = true;
            return Ok(State::Block);
        }
        if peeked < 2 || !is_compressed {
            return Ok(State::Plain { peeked });
        }
        if self.container == Container::Gzip {
            self.gzip_header()?;
        }
        Ok(State::Block)
    }

    /// Whether a body that is no zlib must be deflate without container, since it is no text.
    fn is_raw_after(&self, start: [u8; 2]) -> bool {
        let read = self.input.get(..self.unused.end).unwrap_or_default();
        read.starts_with(&start) && self.unused.start == 2 && !is_text(read)
    }

    /// Everything of a member's header behind its two magic bytes.
    fn gzip_header(&mut self) -> io::Result<()> {
        let (method, flags) = (self.byte()?, self.byte()?);
        if method != 8 {
            return Err(damaged());
        }
        for _ in 0..6 {
            self.byte()?;
        }
        if flags & 4 != 0 {
            for _ in 0..u16::from_le_bytes([self.byte()?, self.byte()?]) {
                self.byte()?;
            }
        }
        for text in [8, 16] {
            while flags & text != 0 && self.byte()? != 0 {}
        }
        if flags & 2 != 0 {
            self.byte()?;
            self.byte()?;
        }
        Ok(())
    }

    fn trailer(&mut self) -> io::Result<State> {
        self.align();
        let check = std::mem::take(&mut self.check);
        if self.is_raw {
            return Ok(State::End);
        }
        if self.container == Container::Zlib {
            return if self.number()?.swap_bytes() == check.adler() { Ok(State::End) } else { Err(damaged()) };
        }
        if self.number()? != check.crc() || self.number()? != check.length {
            return Err(damaged());
        }
        // Another member may follow. Other bytes are padding, which the gzip program ignores too.
        if self.next_byte()? != Some(0x1f) || self.next_byte()? != Some(0x8b) {
            return Ok(State::End);
        }
        self.gzip_header()?;
        (self.filled, self.is_last_block) = (0, false);
        Ok(State::Block)
    }

    // ---- Blocks --------------------------------------------------------------------------------------------------

    fn block(&mut self) -> io::Result<State> {
        if self.is_last_block {
            return Ok(State::Trailer);
        }
        self.is_last_block = self.take(1)? == 1;
        match self.take(2)? {
            0 => {
                self.align();
                let [length, inverse] = [self.take(16)?, self.take(16)?];
                if length ^ inverse != 0xffff {
                    return Err(damaged());
                }
                Ok(State::Stored { left: length })
            }
            1 => {
                let length = |symbol| match symbol {
                    0..144 | 280.. => 8,
                    144..256 => 9,
                    256..280 => 7,
                };
                let lengths: [u8; 288] = std::array::from_fn(length);
                self.literals = Huffman::of(&lengths)?;
                self.distances = Huffman::of(&[5; 30])?;
                Ok(State::Codes)
            }
            2 => self.dynamic().map(|()| State::Codes),
            _ => Err(damaged()),
        }
    }

    /// Reads the codes of a block, which are themselves coded.
    fn dynamic(&mut self) -> io::Result<()> {
        const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
        let literals = self.take(5)? + 257;
        let distances = self.take(5)? + 1;
        let count = self.take(4)? + 4;
        if literals > 286 || distances > 30 {
            return Err(damaged());
        }
        let mut lengths = [0; 286 + 30];
        for place in &ORDER[..count] {
            lengths[*place] = self.take(3)? as u8;
        }
        let codes = Huffman::of(&lengths[..19])?;
        lengths[..19].fill(0);
        let mut at = 0;
        while at < literals + distances {
            let (length, times) = match self.symbol(&codes)? {
                16 => {
                    (*at.checked_sub(1).and_then(|before| lengths.get(before)).ok_or_else(damaged)?, 3 + self.take(2)?)
                }
                17 => (0, 3 + self.take(3)?),
                18 => (0, 11 + self.take(7)?),
                length => (length as u8, 1),
            };
            if at + times > literals + distances {
                return Err(damaged());
            }
            lengths[at..at + times].fill(length);
            at += times;
        }
        if lengths[256] == 0 {
            return Err(damaged());
        }
        self.literals = Huffman::of(&lengths[..literals])?;
        self.distances = Huffman::of(&lengths[literals..at])?;
        Ok(())
    }

    fn symbol(&mut self, codes: &Huffman) -> io::Result<usize> {
        let (mut code, mut first, mut index) = (0, 0, 0);
        for count in &codes.counts[1..] {
            code |= self.take(1)?;
            let count = usize::from(*count);
            if code < first + count {
                return Ok(codes.symbols[index + code - first].into());
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        Err(damaged())
    }

    /// A literal, or the length and distance of a copy.
    fn code(&mut self, out: &mut Out<'_>) -> io::Result<State> {
        let literals = std::mem::take(&mut self.literals);
        let symbol = self.symbol(&literals);
        self.literals = literals;
        let base = match symbol? {
            literal @ 0..256 => {
                self.push(literal as u8, out);
                return Ok(State::Codes);
            }
            256 => return Ok(State::Block),
            length => length - 257,
        };
        // RFC 1951, 3.2.5: four lengths for each number of extra bits, and the longest by itself.
        let left = match base {
            0..8 => base + 3,
            8..28 => {
                let extra = base / 4 - 1;
                ((4 + base % 4) << extra) + 3 + self.take(extra as u32)?
            }
            28 => 258,
            _ => return Err(damaged()),
        };
        let distances = std::mem::take(&mut self.distances);
        let symbol = self.symbol(&distances);
        self.distances = distances;
        // Likewise two distances for each.
        let distance = match symbol? {
            near @ 0..4 => near + 1,
            far @ 4..30 => {
                let extra = far / 2 - 1;
                ((2 + far % 2) << extra) + 1 + self.take(extra as u32)?
            }
            _ => return Err(damaged()),
        };
        if distance > self.filled {
            return Err(damaged());
        }
        Ok(State::Copy { distance, left })
    }

    fn push(&mut self, byte: u8, out: &mut Out<'_>) {
        out.bytes[out.len] = byte;
        out.len += 1;
        self.window[self.at] = byte;
        self.at = (self.at + 1) % WINDOW;
        self.filled = (self.filled + 1).min(WINDOW);
        self.check.add(byte);
    }
}

/// The result of `read`.
struct Out<'a> {
    bytes: &'a mut [u8],
    len: usize,
}

impl<R: Read> Read for Inflate<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let out = &mut Out { bytes, len: 0 };
        while out.len < out.bytes.len() {
            self.state = match self.state {
                State::Start => self.start()?,
                State::Plain { peeked } => {
                    if peeked > 0 {
                        let count = peeked.min(out.bytes.len());
                        out.bytes[..count].copy_from_slice(&self.window[..count]);
                        self.window.copy_within(count..peeked, 0);
                        self.state = State::Plain { peeked: peeked - count };
                        return Ok(count);
                    }
                    let Some(byte) = self.next_byte()? else { break };
                    out.bytes[0] = byte;
                    let count = self.unused.len().min(out.bytes.len() - 1);
                    out.bytes[1..=count].copy_from_slice(&self.input[self.unused.start..][..count]);
                    self.unused.start += count;
                    return Ok(1 + count);
                }
                State::Block => self.block()?,
                State::Stored { left: 0 } => State::Block,
                State::Copy { left: 0, .. } => State::Codes,
                State::Stored { left } => {
                    let byte = self.byte()?;
                    self.push(byte, out);
                    State::Stored { left: left - 1 }
                }
                State::Codes => self.code(out)?,
                State::Copy { distance, left } => {
                    let byte = self.window[(self.at + WINDOW - distance) % WINDOW];
                    self.push(byte, out);
                    State::Copy { distance, left: left - 1 }
                }
                State::Trailer => self.trailer()?,
                State::End => break,
            };
        }
        Ok(out.len)
    }
}

/// A canonical Huffman code: how many codes have each length, and their symbols in order.
#[derive(Debug, Default)]
struct Huffman {
    counts: [u16; 16],
    symbols: Vec<u16>,
}

impl Huffman {
    /// The code with these lengths, of which 0 means that the symbol does not occur.
    fn of(lengths: &[u8]) -> io::Result<Self> {
        let mut counts = [0; 16];
        for length in lengths {
            counts[usize::from(*length)] += 1;
        }
        // Half of the codes that are left at each length are prefixes of longer ones.
        let mut left = 1;
        for count in &counts[1..] {
            left = 2 * left - i32::from(*count);
            if left < 0 {
                return Err(damaged());
            }
        }
        let mut symbols = Vec::with_capacity(lengths.len());
        for wanted in 1..16 {
            let of_length = lengths.iter().zip(0..).filter(|(length, _)| **length == wanted);
            symbols.extend(of_length.map(|(_, symbol)| symbol));
        }
        Ok(Self { counts, symbols })
    }
}

/// The check sums of the bytes so far.
#[derive(Debug)]
struct Check {
    /// Inverted.
    crc: u32,
    low: u32,
    high: u32,
    length: u32,
}

impl Default for Check {
    fn default() -> Self {
        Self { crc: u32::MAX, low: 1, high: 0, length: 0 }
    }
}

impl Check {
    fn add(&mut self, byte: u8) {
        // The CRC of each half byte, for the polynomial of gzip.
        const HALF: [u32; 16] = {
            let mut table = [0; 16];
            let mut value = 0;
            while value < 16 {
                let mut crc = value;
                let mut bit = 0;
                while bit < 4 {
                    crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
                    bit += 1;
                }
                table[value as usize] = crc;
                value += 1;
            }
            table
        };
        self.crc ^= u32::from(byte);
        for _ in 0..2 {
            self.crc = self.crc >> 4 ^ HALF[(self.crc & 15) as usize];
        }
        self.low = (self.low + u32::from(byte)) % 65_521;
        self.high = (self.high + self.low) % 65_521;
        self.length = self.length.wrapping_add(1);
    }

    fn crc(&self) -> u32 {
        !self.crc
    }

    fn adler(&self) -> u32 {
        self.high << 16 | self.low
    }
}

/// Whether bytes are text, or the beginning of one.
pub(super) fn is_text(bytes: &[u8]) -> bool {
    let whole = match std::str::from_utf8(bytes) {
        Ok(_) => bytes.len(),
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        Err(_) => return false,
    };
    bytes[..whole].iter().all(|byte| *byte >= b' ' || byte.is_ascii_whitespace())
}

fn damaged() -> io::Error {
    io::Error::other(Misbehaviour::Otherwise(DAMAGED))
}

#[cfg(test)]
mod tests;
