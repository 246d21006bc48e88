"""Notes what goes wrong in the pages of an app: what they log as errors, and exceptions that nothing catches.

The browsers have no common way to ask for that. So the pages note it themselves, in their origin's storage, where it
outlives them.
"""

from __future__ import annotations

from flash import Flash
from tests.engines.tabs import Browser

SCRIPT = """
<script>
    (() => {
        const note = text => localStorage.setItem(`error ${Date.now()} ${Math.random()}`, text);
        const log = console.error;
        console.error = (...parts) => {
            note(parts.map(part => part?.stack ? `${part} ${part.stack}` : String(part)).join(' '));
            log(...parts);
        };
        addEventListener('error', ({message, filename, lineno}) => note(`${message} ${filename}:${lineno}`));
        addEventListener('unhandledrejection', ({reason}) => note(`${reason} ${reason?.stack}`));
    })();
</script>
"""

TAKE = """
    if (location.protocol !== 'http:') {
        return [];
    }
    const keys = Object.keys(localStorage).filter(key => key.startsWith('error ')).sort();
    return keys.map(key => {
        const text = localStorage.getItem(key);
        localStorage.removeItem(key);
        return text;
    });
"""


def noting_errors(app: Flash) -> Flash:
    """`app`, whose pages note their errors."""
    app.index_string = app.index_string.replace("<head>", "<head>" + SCRIPT)
    return app


def take_errors(browser: Browser) -> list[str]:
    """Remove and return what the pages of the origins that the open tabs are at have noted."""
    return [error for tab in browser.tabs for error in tab.evaluate(TAKE)]
