//! What a file was built for, and what this host is.

use std::fmt;

use object::elf;

/// A machine as an ELF header describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) machine: elf::Machine,
    pub(super) class: elf::FileClass,
    pub(super) order: elf::DataEncoding,
}

impl Target {
    /// This host.
    pub(super) const HOST: Self = Self {
        machine: HOST_MACHINE,
        class: if cfg!(target_pointer_width = "64") { elf::ELFCLASS64 } else { elf::ELFCLASS32 },
        order: if cfg!(target_endian = "little") { elf::ELFDATA2LSB } else { elf::ELFDATA2MSB },
    };

    /// Reads the first bytes of an ELF file, which are laid out alike for all machines. `None` if they are cut short.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        let order = elf::DataEncoding(*bytes.get(5)?);
        let machine = [*bytes.get(18)?, *bytes.get(19)?];
        let machine =
            if order == elf::ELFDATA2MSB { u16::from_be_bytes(machine) } else { u16::from_le_bytes(machine) };
        Some(Self { machine: elf::Machine(machine), class: elf::FileClass(*bytes.get(4)?), order })
    }

    /// The machine's name.
    pub(super) fn name(self) -> &'static str {
        NAMES
            .iter()
            .find(|(machine, _)| *machine == self.machine)
            .map_or("an unknown machine", |(_, name)| name)
    }
}

/// As in "built for x86_64"; word size and byte order are named where they are not the host's.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.class != Self::HOST.class {
            f.write_str(if self.class == elf::ELFCLASS64 { "64-bit " } else { "32-bit " })?;
        }
        if self.order != Self::HOST.order {
            f.write_str(if self.order == elf::ELFDATA2LSB { "little-endian " } else { "big-endian " })?;
        }
        f.write_str(self.name())?;
        if self.name() == "an unknown machine" { write!(f, " (number {})", self.machine.0) } else { Ok(()) }
    }
}

const HOST_MACHINE: elf::Machine = if cfg!(target_arch = "x86_64") {
    elf::EM_X86_64
} else if cfg!(target_arch = "aarch64") {
    elf::EM_AARCH64
} else if cfg!(any(target_arch = "riscv64", target_arch = "riscv32")) {
    elf::EM_RISCV
} else if cfg!(target_arch = "powerpc64") {
    elf::EM_PPC64
} else if cfg!(target_arch = "s390x") {
    elf::EM_S390
} else if cfg!(target_arch = "loongarch64") {
    elf::EM_LOONGARCH
} else {
    elf::EM_NONE
};

const NAMES: &[(elf::Machine, &str)] = &[
    (elf::EM_386, "i386"),
    (elf::EM_X86_64, "x86_64"),
    (elf::EM_ARM, "arm"),
    (elf::EM_AARCH64, "aarch64"),
    (elf::EM_RISCV, "riscv"),
    (elf::EM_PPC, "powerpc"),
    (elf::EM_PPC64, "powerpc64"),
    (elf::EM_S390, "s390x"),
    (elf::EM_LOONGARCH, "loongarch"),
    (elf::EM_MIPS, "mips"),
    (elf::EM_SPARCV9, "sparc64"),
    (elf::EM_IA_64, "ia64"),
    (elf::EM_BPF, "bpf"),
];
