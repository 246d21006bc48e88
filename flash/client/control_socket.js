// @ts-check
/**
 * The control websocket: carries the page's messages when all connections of its browser are taken.
 *
 * A browser has six connections to a host over HTTP/1.1, and slow callbacks may hold all of them. A websocket does not
 * count among the six. `requests.js` decides which messages go over it.
 *
 * The websocket is opened when a message needs it, and closed after `IDLE_TIMEOUT` without a message. If it cannot be
 * opened, for instance behind a proxy that forwards none, no other one is tried for `BLOCKED_TIME`. The server's side
 * is `flash/websockets/control_socket.py`.
 *
 * A classic script: Dash serves component files as such.
 */

/**
 * @typedef {{status: number, ok: boolean, text: string, type: string, life?: string}} Answer  of the server, by request or
 *     websocket; `life` as in `ControlAnswer` in `wire_messages.py`
 * @typedef {{to: string, headers: Record<string, string>, body: string}} ControlMessage  the name of the route that it
 *     is for, and the headers and body that a request to it would have
 * @typedef {object} Unanswered  a message that was sent over the websocket, or will be when that is open
 * @property {string} encoded
 * @property {(answer: Answer) => void} resolve
 * @property {(error: Error) => void} reject
 */

(function () {
    const {flash} = /** @type {any} */ (window);
    const {wire} = flash;

    /** Milliseconds that the websocket may take to open. */
    const OPEN_TIMEOUT = 10_000;
    /** Milliseconds for which an unused websocket is kept. */
    const IDLE_TIMEOUT = 10_000;
    /** Milliseconds after which a websocket takes no new messages: its cookies are those of its handshake. */
    const MAX_AGE = 30_000;
    /** Milliseconds for which no websocket is tried after one could not be opened. */
    const BLOCKED_TIME = 60_000;
    /** The most characters of a message that the server takes over a websocket. */
    const MAX_LENGTH = 250_000;

    /** @type {WebSocket | null} */
    let socket = null;
    /** When it was opened, on the wall clock. */
    let openedAt = 0;
    /** Until when no websocket is tried, on the wall clock. */
    let blockedUntil = 0;
    /** Closes the websocket after `IDLE_TIMEOUT`. @type {ReturnType<typeof setTimeout> | undefined} */
    let idleTimer;
    /** The number of messages so far: each has its number as its id. */
    let count = 0;
    /** The messages that have no answer yet, by id. @type {Map<number, Unanswered>} */
    const unanswered = new Map();

    /**
     * Send a message, over a websocket that is opened if there is none.
     * @param {string} address  of the websocket
     * @param {ControlMessage} message
     * @returns {Promise<Answer>}  rejected if the message cannot go over a websocket, or that is closed meanwhile
     */
    function send(address, message) {
        return new Promise((resolve, reject) => {
            const id = ++count;
            const encoded = wire.encode('control', {id, ...message});
            if (encoded.length > MAX_LENGTH || Date.now() < blockedUntil) {
                reject(new Error('This message can only go by its request.'));
                return;
            }
            if (socket !== null && unanswered.size === 0 && Date.now() - openedAt > MAX_AGE) {
                close();
            }
            unanswered.set(id, {encoded, resolve, reject});
            clearTimeout(idleTimer);
            if (socket === null) {
                open(address);
            } else if (socket.readyState === WebSocket.OPEN) {
                socket.send(encoded);
            }
        });
    }

    /**
     * Send a message whose answer does not matter, if the websocket is open.
     * @param {ControlMessage} message
     */
    function sendIfOpen(message) {
        if (socket !== null && socket.readyState === WebSocket.OPEN) {
            socket.send(wire.encode('control', {id: ++count, ...message}));
        }
    }

    /**
     * Open the websocket, and send the messages that wait for it.
     * @param {string} address
     */
    function open(address) {
        /** @type {WebSocket} */
        let opened;
        try {
            opened = new WebSocket(new URL(address, location.href).href.replace(/^http/, 'ws'));
        } catch {
            // A content security policy may forbid it.
            block();
            return;
        }
        socket = opened;
        openedAt = Date.now();
        let wasOpen = false;
        const timer = setTimeout(() => opened.close(), OPEN_TIMEOUT);
        opened.onopen = () => {
            wasOpen = true;
            clearTimeout(timer);
            if (socket === opened) {
                unanswered.forEach(({encoded}) => opened.send(encoded));
            }
        };
        opened.onmessage = ({data}) => {
            if (socket === opened) {
                receive(wire.parseAnswer('control', data));
            }
        };
        opened.onclose = () => {
            clearTimeout(timer);
            if (socket === opened) {
                socket = null;
                wasOpen ? rejectUnanswered() : block();
            }
        };
    }

    /**
     * The server has answered a message.
     * @param {ControlAnswer} answer
     */
    function receive({id, status, text, type, life}) {
        unanswered.get(id)?.resolve({status, ok: status >= 200 && status < 300, text, type, life});
        unanswered.delete(id);
        if (unanswered.size === 0) {
            idleTimer = setTimeout(close, IDLE_TIMEOUT);
        }
    }

    /** The websocket could not be opened: try none for a while. */
    function block() {
        blockedUntil = Date.now() + BLOCKED_TIME;
        rejectUnanswered();
    }

    /** Reject the messages that have no answer: only their requests can bring one now. */
    function rejectUnanswered() {
        const messages = [...unanswered.values()];
        unanswered.clear();
        messages.forEach(({reject}) => reject(new Error('The websocket is closed.')));
    }

    /** Close the websocket. */
    function close() {
        clearTimeout(idleTimer);
        const closed = socket;
        socket = null;
        closed?.close(1000);
        rejectUnanswered();
    }

    Object.assign(flash, {controlSocket: {send, sendIfOpen, close}});
})();
