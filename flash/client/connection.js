// @ts-check
/**
 * The page's connection: one EventSource for all its streams, and the requests that go the other way.
 *
 * EventSource reconnects by itself when a connection is cut. When the server refuses it, it hides why and stays
 * closed: then `_flash/status` is asked, and a new one is opened after a while that grows with each refusal.
 */

(function () {
    const page = /** @type {any} */ (window);
    const {streams} = page.flash;

    const FIRST_RETRY = 1_000;
    const LAST_RETRY = 30_000;

    /** @type {EventSource | null} */
    let source = null;
    /** The page's token. */
    let token = '';
    let retry = FIRST_RETRY;
    /** The last refusal that was shown, so that it is shown once. */
    let shown = '';
    let replaced = false;

    /** Dash's configuration of the page. */
    function config() {
        return page.dash_stores[0].getState().config;
    }

    /**
     * @param {string} name
     */
    function url(name) {
        return `${config().requests_pathname_prefix}_flash/${name}`;
    }

    /**
     * POST to one of Flash's routes, with the header by which Dash answers CSRF protections.
     * @param {string} name
     * @param {object} body
     */
    function post(name, body) {
        /** @type {Record<string, string>} */
        const headers = {'Content-Type': 'application/json'};
        const cookie = document.cookie
            .split('; ')
            .find(entry => entry.startsWith(`${config().csrf_token_name}=`));
        if (cookie !== undefined) {
            headers[config().csrf_header_name] = decodeURIComponent(cookie.slice(cookie.indexOf('=') + 1));
        }
        return fetch(url(name), {
            method: 'POST',
            headers,
            body: JSON.stringify({page: token, ...body}),
            credentials: 'same-origin',
            keepalive: true
        });
    }

    /**
     * A cancel Input has changed while a stream that depends on it runs.
     * @param {string} stream
     * @param {number} condition
     * @param {any} value
     */
    function change(stream, condition, value) {
        post('cancel', {stream, condition, value})
            .then(response => {
                // 404: the stream has ended in the meantime.
                if (!response.ok && response.status !== 404) {
                    restart();
                }
            })
            .catch(restart);
    }

    /** A request about a stream has failed: a new connection ends what the old one held, and starts clean. */
    function restart() {
        close();
        connect();
    }

    function close() {
        if (source !== null) {
            source.close();
            source = null;
            streams.lose();
        }
    }

    function connect() {
        if (source !== null || replaced) {
            return;
        }
        const opened = new EventSource(`${url('events')}?page=${encodeURIComponent(token)}`);
        source = opened;
        /**
         * @param {string} name
         * @param {(data: any) => void} handle
         */
        const on = (name, handle) =>
            opened.addEventListener(name, event => {
                // EventSource has an `open` of its own, which carries no data.
                if (source === opened && event instanceof MessageEvent) {
                    handle(JSON.parse(event.data));
                }
            });
        on('open', data => streams.open(data, change));
        on('props', streams.update);
        on('end', streams.end);
        on('refused', streams.refuse);
        on('replaced', () => {
            replaced = true;
            close();
            console.warn('Flash: this page has been opened a second time; only the newer one is kept up to date.');
        });
        opened.onopen = () => {
            retry = FIRST_RETRY;
            shown = '';
        };
        opened.onerror = () => {
            if (source !== opened) {
                return;
            }
            streams.lose();
            if (opened.readyState === EventSource.CLOSED) {
                source = null;
                explain();
                setTimeout(connect, retry);
                retry = Math.min(2 * retry, LAST_RETRY);
            }
        };
    }

    /** Show why the server refuses the connection. */
    async function explain() {
        let message = 'the server does not answer';
        try {
            const response = await fetch(`${url('status')}?page=${encodeURIComponent(token)}`);
            message = response.ok ? '' : await response.text();
        } catch {
            // It does not answer.
        }
        if (message !== '' && message !== shown) {
            console.error(`Flash: no connection: ${message}`);
        }
        shown = message;
    }

    /**
     * The page is there.
     * @param {string} issued  its token
     */
    function begin(issued) {
        token = issued;
        streams.watch(change);
        connect();
        window.addEventListener('pagehide', () => {
            if (source !== null) {
                post('close', {}).catch(() => undefined);
                close();
            }
        });
        // Back from the back/forward cache.
        window.addEventListener('pageshow', event => {
            if (event.persisted) {
                connect();
            }
        });
    }

    /**
     * The hidden component that brings the page its token.
     * @param {{token: string}} props
     */
    function Page(props) {
        page.React.useEffect(() => begin(props.token), []);
        return null;
    }

    Object.assign(page.flash, {Page});
})();
