// @ts-check
/**
 * Wraps `fetch`, so that calls of callbacks do not take the connections that the link and the starts of streams need.
 *
 * A browser has six connections to a host over HTTP/1.1, and gives them to requests in order. So the first call of a
 * callback waits until the page's link has its connection, however many callbacks are due when the page is loaded. And
 * a request that starts a stream goes over the control websocket if it has to wait for a connection: see `control.js`.
 *
 * The renderer has no other hook for this than `fetch` itself. Every other request passes unchanged.
 *
 * A classic script: Dash serves component files as such.
 */

(function () {
    const {flash} = /** @type {any} */ (window);
    const {renderer, control, link} = flash;
    const plain = window.fetch;

    /** The State that names the page: the request that starts a stream has it, and no other. */
    const START = /"id":"_flash","property":"token"/;
    /** Milliseconds that the first calls wait for the link: an EventSource asks for its connection in a later task. */
    const LINK_DELAY = 10;
    /** The headers that the websocket can carry. A request on which the app has set others goes by `fetch` alone. */
    const KNOWN = ['accept', 'content-type'];

    /**
     * Whether a request is the renderer's call of a callback.
     * @param {RequestInfo | URL} resource
     * @param {RequestInit | undefined} options
     */
    function isCall(resource, options) {
        return typeof resource === 'string' && options?.method === 'POST' && renderer.isCallAddress(resource);
    }

    /**
     * Whether the websocket can carry a request's headers.
     * @param {Headers} headers
     */
    function isPlain(headers) {
        const known = [...KNOWN, control.csrfHeader().toLowerCase()];
        return [...headers.keys()].every(name => known.includes(name));
    }

    /**
     * Resolves when the page's link has asked for its connection; null before the first call.
     * @type {Promise<void> | null}
     */
    let turn = null;

    /**
     * `fetch`, but for calls of callbacks: those wait for the link, and may go over the websocket, too.
     * @param {RequestInfo | URL} resource
     * @param {RequestInit} [options]
     * @returns {Promise<Response>}
     */
    async function fetchInTurn(resource, options) {
        if (!isCall(resource, options)) {
            return plain.call(window, resource, options);
        }
        if (turn === null) {
            turn = new Promise(resolve => setTimeout(resolve, LINK_DELAY));
            link.beginEarly();
        }
        await turn;
        const body = options?.body;
        const headers = new Headers(options?.headers);
        if (typeof body !== 'string' || !START.test(body)) {
            return plain.call(window, resource, options);
        }
        if (!isPlain(headers)) {
            const all = {...Object.fromEntries(headers), ...control.startHeader()};
            return plain.call(window, resource, {...options, headers: all});
        }
        return control.sendStart((/** @type {RequestInit} */ more) => {
            const all = {...Object.fromEntries(headers), ...more.headers};
            return plain.call(window, resource, {...options, ...more, headers: all});
        }, body);
    }

    window.fetch = fetchInTurn;
})();
