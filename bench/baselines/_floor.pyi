from typing_extensions import Buffer

COMPILER: str

def secure(
    sockets: Buffer, watch: int, every: int, off: Buffer, out: Buffer, in_: Buffer, mark: Buffer
) -> None: ...
def effective(sockets: Buffer, out: Buffer, in_: Buffer, mark: Buffer) -> None: ...
