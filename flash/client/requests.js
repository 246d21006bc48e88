// @ts-check
/**
 * Sends the page's messages to the server: acknowledgements, changes of cancel Inputs, starts, and that it is left.
 *
 * Each message is a request. A request may have to wait in the browser until one of its few connections is free. So a
 * message whose request was not answered within `REQUEST_TIMEOUT` is also sent over the control websocket (see
 * `control_socket.js`), and the first answer counts. The server may receive a message twice: it acts on it once.
 *
 * A classic script: Dash serves component files as such.
 */

/**
 * @typedef {{token: string, secret: string, hub: string}} PageNames  what the layout says of the page: its token, its
 *     secret, and the name of the hub's script
 */

(function () {
    const {flash} = /** @type {any} */ (window);
    const {wire, controlSocket} = flash;
    const {config, callAddress} = flash.renderer;

    /** Milliseconds that the server may take to answer. */
    const ANSWER_TIMEOUT = 10_000;
    /** Milliseconds, at least, after which a message goes over the websocket as well as by its request. */
    const REQUEST_TIMEOUT = 75;

    /** The page's token and its secret: see `flash/asgi/page_secret.py`. */
    let token = '';
    let secret = '';
    /** Milliseconds that the fastest request took. */
    let fastest = Infinity;

    /**
     * The layout has brought the page's names.
     * @param {PageNames} names
     */
    function begin(names) {
        ({token, secret} = names);
    }

    /** The page's token. */
    function page() {
        return token;
    }

    /**
     * The address of one of Flash's routes.
     * @param {string} name
     */
    function address(name) {
        return `${config().prefix}_flash/${name}`;
    }

    /** The name of the header by which Dash answers CSRF protections. */
    function csrfHeader() {
        return config().csrfHeader;
    }

    /** The headers that prove that a message is the page's own: Flash's, and Dash's for a CSRF protection. */
    function proofs() {
        /** @type {Record<string, string>} */
        const headers = {[wire.PROOF_HEADER]: secret};
        const start = `${config().csrfCookie}=`;
        const cookie = document.cookie.split('; ').find(entry => entry.startsWith(start));
        if (cookie !== undefined) {
            headers[csrfHeader()] = decodeURIComponent(cookie.slice(start.length));
        }
        return headers;
    }

    /**
     * Send a POST request with a JSON body.
     * @param {string} url
     * @param {string} body
     * @param {RequestInit} options
     */
    function send(url, body, options) {
        const headers = {'Content-Type': 'application/json', ...proofs()};
        return fetch(url, {method: 'POST', headers, body, credentials: 'same-origin', ...options});
    }

    /**
     * Send a message to one of Flash's routes.
     * @param {string} name
     * @param {object} message
     * @param {() => Promise<Answer>} [request]  has the request made elsewhere, instead of making it here
     */
    function post(name, message, request) {
        const body = wire.encode(name, {page: token, ...message});
        /** @param {AbortController} controller */
        const ownRequest = controller => byRequest(address(name), body, controller);
        return sendBothWays(name, body, {}, request ?? ownRequest, answer => answer);
    }

    /**
     * The header of a request that starts a stream: it tells a server of several processes what the request is, without
     * its body, and tells it from every other start.
     */
    function startHeader() {
        return {[wire.START_HEADER]: crypto.getRandomValues(new Uint32Array(4)).join('-')};
    }

    /**
     * Send the request by which Dash's renderer starts a stream. It may reach the server twice: its header says that it
     * is the same one.
     * @param {(options: RequestInit) => Promise<Response>} sendRequest  sends it, with these options besides its own
     * @param {string} body
     * @returns {Promise<Response>}
     */
    function sendStart(sendRequest, body) {
        const headers = startHeader();
        return sendBothWays(
            'start',
            body,
            headers,
            ({signal}) => sendRequest({signal, headers}),
            ({status, text, type, life}) => {
                const headers = {'Content-Type': type, [wire.LIFE_HEADER]: life ?? ''};
                return new Response(text || null, {status, headers});
            }
        );
    }

    /**
     * Send a Dash callback request that starts a stream again; says whether the server took it.
     * @param {object} body
     */
    function startAgain(body) {
        return byRequest(callAddress(), JSON.stringify(body), new AbortController()).then(
            answer => answer.ok,
            () => false
        );
    }

    /**
     * Send a message by a request, and if that is not answered in time over the control websocket as well. The first
     * answer counts; the promise is rejected when no way is left that could bring one.
     * @template T
     * @param {string} name  of the route
     * @param {string} body
     * @param {Record<string, string>} headers  besides those that every message has
     * @param {(controller: AbortController) => Promise<T>} request  makes the request
     * @param {(answer: Answer) => T} read  makes of an answer over the websocket what `request` gives
     * @returns {Promise<T>}
     */
    function sendBothWays(name, body, headers, request, read) {
        return new Promise((resolve, reject) => {
            const controller = new AbortController();
            const began = performance.now();
            let ways = 1;
            /** @param {Error} error */
            const fail = error => {
                ways -= 1;
                if (ways === 0) {
                    reject(error);
                }
            };
            const overSocketToo = () => {
                ways += 1;
                overSocket(name, body, headers).then(answer => {
                    resolve(read(answer));
                    // The request need not leave the browser any more.
                    controller.abort();
                }, fail);
            };
            const timer = setTimeout(overSocketToo, Math.max(REQUEST_TIMEOUT, fastest < Infinity ? 2 * fastest : 0));
            request(controller)
                .then(answer => {
                    fastest = Math.min(fastest, performance.now() - began);
                    resolve(answer);
                }, fail)
                .finally(() => clearTimeout(timer));
        });
    }

    /**
     * Send a message by a request; rejected if that is not answered in time.
     * @param {string} url
     * @param {string} body
     * @param {AbortController} controller
     * @returns {Promise<Answer>}
     */
    async function byRequest(url, body, controller) {
        // A request on a half-open connection would otherwise hold it for ever.
        const timer = setTimeout(() => controller.abort(), ANSWER_TIMEOUT);
        try {
            const response = await send(url, body, {signal: controller.signal});
            const {status, ok, headers} = response;
            const [type, life] = ['Content-Type', wire.LIFE_HEADER].map(name => headers.get(name) ?? '');
            return {status, ok, text: await response.text(), type, life};
        } finally {
            clearTimeout(timer);
        }
    }

    /**
     * Send a message over the control websocket.
     * @param {string} name  of the route that it is for
     * @param {string} body
     * @param {Record<string, string>} headers
     * @returns {Promise<Answer>}
     */
    function overSocket(name, body, headers) {
        return controlSocket.send(address('control'), {to: name, headers: {...proofs(), ...headers}, body});
    }

    /**
     * The page is being left.
     * @param {boolean} closesChannel  whether the server is to close the page's channel
     */
    function leave(closesChannel) {
        if (closesChannel) {
            const body = wire.encode('close', {page: token});
            controlSocket.sendIfOpen({to: 'close', headers: proofs(), body});
            send(address('close'), body, {keepalive: true}).catch(() => undefined);
        }
        // An open websocket would keep the page out of the back/forward cache.
        controlSocket.close();
    }

    /**
     * Ask `_flash/status` why the server refuses a link: its sentence, '' if it would take one now. If it refuses it
     * for the browser's cookie, which has changed since the page's streams began, it issues a ticket, which opens a
     * link all the same.
     * @param {number} turn  of the link
     * @returns {Promise<{status: number, message: string, ticket: string | null}>}  `status` is 0 without an answer
     */
    async function askStatus(turn) {
        try {
            const signal = AbortSignal.timeout(ANSWER_TIMEOUT);
            const query = new URLSearchParams({page: wire.standing(token, turn, '')});
            const response = await fetch(`${address('status')}?${query}`, {signal});
            const {ok, status} = response;
            if (ok) {
                return {status, message: '', ticket: null};
            }
            const message = await response.text();
            const issued = status === 403 ? await post('ticket', {}) : null;
            return issued?.ok
                ? {status, message: '', ticket: wire.parseAnswer('ticket', issued.text).ticket}
                : {status, message, ticket: null};
        } catch {
            return {status: 0, message: 'the server does not answer', ticket: null};
        }
    }

    /**
     * The address of a link.
     * @param {number} turn  how often the page has opened one
     * @param {string} last  the id of the last event that has come; '' if none has
     * @param {string | null} ticket
     */
    function linkAddress(turn, last, ticket) {
        /** @type {Record<string, string>} */
        const fields = {page: wire.standing(token, turn, last), ...(ticket && {ticket})};
        return `${address('events')}?${new URLSearchParams(fields)}`;
    }

    Object.assign(flash, {
        requests: {
            begin,
            page,
            address,
            csrfHeader,
            proofs,
            post,
            startAgain,
            startHeader,
            sendStart,
            leave,
            askStatus,
            linkAddress
        }
    });
})();
