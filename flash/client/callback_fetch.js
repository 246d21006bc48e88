// @ts-check
/**
 * Wraps `fetch`, so that calls of callbacks do not take the connections that the link and the starts of streams need.
 *
 * A browser has six connections to a host over HTTP/1.1, and gives them to requests in order. So when a page is loaded,
 * only the first few calls of callbacks are made before its link has asked for one: as many as leave one free for the
 * link, and one for the script of the hub that opens it. And a request that starts a stream goes over the
 * control websocket if it has to wait for a connection: see `requests.js`.
 *
 * The renderer has no other hook for this than `fetch` itself. Every other request passes unchanged.
 *
 * A classic script: Dash serves component files as such.
 */

(function () {
    const {flash} = /** @type {any} */ (window);
    const {wire, renderer, requests, link, elsewhere} = flash;
    const originalFetch = window.fetch;

    /** The State that names the page: the request that starts a stream has it, and no other. */
    const START = /"id":"_flash","property":"token"/;
    /** The number of calls that do not wait for the link. */
    const EARLY_CALLS = 3;
    /** The headers that the websocket can carry. A request on which the app has set others goes by `fetch` alone. */
    const PLAIN_HEADERS = ['accept', 'content-type'];

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
    function hasOnlyPlainHeaders(headers) {
        const known = [...PLAIN_HEADERS, requests.csrfHeader().toLowerCase()];
        return [...headers.keys()].every(name => known.includes(name));
    }

    /**
     * Resolved when the page's link has asked for its connection; null before the first call.
     * @type {Promise<void> | null}
     */
    let linkAsked = null;
    /** The number of calls so far. */
    let calls = 0;

    /**
     * `fetch`, but for calls of callbacks: those wait for the link, and may go over the websocket, too.
     * @param {RequestInfo | URL} resource
     * @param {RequestInit} [options]
     * @returns {Promise<Response>}
     */
    async function fetchInTurn(resource, options) {
        if (!isCall(resource, options)) {
            return originalFetch.call(window, resource, options);
        }
        linkAsked ??= link.beginEarly();
        calls += 1;
        if (calls > EARLY_CALLS) {
            await linkAsked;
        }
        const body = options?.body;
        const headers = new Headers(options?.headers);
        if (typeof body !== 'string' || !START.test(body)) {
            return originalFetch.call(window, resource, options);
        }
        /** @param {RequestInit} more */
        const send = more => {
            const all = {...Object.fromEntries(headers), ...more.headers};
            return originalFetch.call(window, resource, {...options, ...more, headers: all});
        };
        const response = hasOnlyPlainHeaders(headers)
            ? await requests.sendStart(send, body)
            : await send({headers: requests.startHeader()});
        if (response.ok) {
            elsewhere.check(response.headers.get(wire.LIFE_HEADER), body);
        }
        return response;
    }

    window.fetch = fetchInTurn;
})();
