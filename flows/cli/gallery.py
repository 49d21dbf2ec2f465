"""`avatars gallery`: a library in the browser."""

from typing import Annotated

import typer
from rich.console import Console

from flows.cli.errors import friendly
from flows.cli.library import LibraryOption, existing_library

TOKEN_VARIABLE = "AVATARS_GALLERY_TOKEN"


@friendly
def gallery(
    library: LibraryOption = "library",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0: any free one.")] = 8765,
    host: Annotated[
        str, typer.Option("--listen", metavar="HOST", help="Address or name to listen on; 0.0.0.0: all of them.")
    ] = "127.0.0.1",
    token: Annotated[
        str,
        typer.Option(
            "--token", envvar=TOKEN_VARIABLE, help="What reviewing needs; beyond this machine there is none without."
        ),
    ] = "",
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", metavar="NAME", help="A further name that it is reached by, such as a proxy's."),
    ] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Show a library in the browser: search, look at avatars in motion, approve, reject, ask for another seed.

    Nothing is downloaded, and nothing but reviews is written into the library: records of the manifest, which
    `avatars show` and `avatars status` tell. What was asked for from a new seed is made by

        avatars retry --requested --library library

    On this machine's own address anybody who reaches it may review, unless there is a token. With `--listen` beyond
    this machine everybody may look, and nobody may review without the token, which the printed address holds. The
    connection is plain HTTP: over networks that you do not trust, put a proxy with TLS before it.

    Examples:

        avatars gallery --library library --open

        avatars gallery -l s3://bucket/people --listen 0.0.0.0 --token "$(openssl rand -hex 16)"
    """
    from flows.gallery.access import Access
    from flows.gallery.app import create_app
    from flows.gallery.serving import address, listen, serve

    existing_library(library)
    access = Access(host, port, token)  # contradictions are named before anything listens
    listener = listen(host, port)
    access = Access(host, listener.getsockname()[1], token, frozenset(name.lower() for name in allow_host or ()))
    app, url = create_app(library, access), address(access)
    console = Console(soft_wrap=True)
    console.print(f"Gallery of {library}: {url} (Ctrl-C ends it)", markup=False, highlight=False)
    if not access.writable:
        console.print("Everybody may look and nobody review: give --token for that.", markup=False, highlight=False)
    if open_page:
        import webbrowser

        webbrowser.open(url)
    serve(app, listener)
