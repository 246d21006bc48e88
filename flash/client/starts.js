// @ts-check
/**
 * The requests by which Dash's renderer calls callbacks, on their way to the browser's connections.
 *
 * A browser has six connections to a host over HTTP/1.1, and takes them in the order in which they are asked for. So the
 * page's link is asked for before the first callback, however many callbacks are due when the page is loaded; and the
 * start of a stream that has to wait for a connection goes by the control websocket, as what the page says itself does.
 *
 * The renderer has no hook for this but `fetch` itself. Every other request passes as it is.
 *
 * A classic script: Dash serves component files as such.
 */

(function () {
    const {flash} = /** @type {any} */ (window);
    const {renderer, control, connection} = flash;
    const plain = window.fetch;

    /** What names the page in the request of a start, and in no other. */
    const START = /"id":"_flash","property":"token"/;
    /** Milliseconds that the first calls leave to the link: an EventSource asks for its connection in a task of its own. */
    const LINK = 10;
    /** Headers of a callback's request that the websocket knows of; with others it is the app's own affair. */
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

    /** Resolves when the page's link has asked for its connection; null before there is a call. @type {Promise<void> | null} */
    let turn = null;

    /**
     * @param {RequestInfo | URL} resource
     * @param {RequestInit} [options]
     * @returns {Promise<Response>}
     */
    async function fetchInTurn(resource, options) {
        if (!isCall(resource, options)) {
            return plain.call(window, resource, options);
        }
        if (turn === null) {
            turn = new Promise(resolve => setTimeout(resolve, LINK));
            connection.beginEarly();
        }
        await turn;
        const body = options?.body;
        const headers = new Headers(options?.headers);
        if (typeof body !== 'string' || !START.test(body) || !isPlain(headers)) {
            return plain.call(window, resource, options);
        }
        return control.begun((/** @type {RequestInit} */ more) => {
            const all = {...Object.fromEntries(headers), ...more.headers};
            return plain.call(window, resource, {...options, ...more, headers: all});
        }, body);
    }

    window.fetch = fetchInTurn;
})();
