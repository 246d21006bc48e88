// @ts-check
/**
 * The wire: every event, message and answer between the server and its pages, by name and by fields.
 *
 * The twin of `flash/wire.py`, which says what each field means. An event is one entry of `events`, under its name: a
 * function that picks its fields from the parsed JSON. Messages and answers are entries of `messages` and `answers`,
 * by the route that they are of. A test runs this script and fails if it and `wire.py` do not agree.
 *
 * A classic script: Dash serves component files as such.
 */

/**
 * @typedef {{page: string, life: string, ping: number | null, reconnect_grace: number | null, revoked: string[],
 *     workers: boolean}} Hello
 * @typedef {{id: Id, property: string, value: any, missing: boolean, exempt: boolean,
 *            watched: boolean}} Condition
 * @typedef {{id: Id, property: string, optional: boolean}} Dependency
 * @typedef {{output: string, outputs: any, inputs: Dependency[], state: Dependency[]}} Start
 * @typedef {{stream: string, callback_id: string, output: string | null, match: string | null, conflate: boolean,
 *            components: Id[] | null, conditions: Condition[], props: Pair[], reset: Pair[],
 *            again: Start | null}} Opening
 * @typedef {{stream: string, props: Pair[]}} PropsOfStream
 * @typedef {{message: string, html: string | null}} Failure
 * @typedef {{stream: string, reason: string, props: Pair[], error: Failure | null, handled: boolean}} Ending
 * @typedef {{callback_id: string, match: string | null, message: string, status: string | null}} Refusal
 * @typedef {{callback: string, message: string}} Mistake
 * @typedef {{lives: string[]}} Ping
 * @typedef {{page: string, life: string | null, status: number, message: string}} Over
 * @typedef {{page: string, status: number, message: string}} RefusedPage
 * @typedef {{id: number, status: number, type: string, text: string, life: string}} ControlAnswer
 * @typedef {{hello: Hello, open: Opening, props: PropsOfStream, end: Ending, refused: Refusal, mistake: Mistake,
 *            ping: Ping, over: Over}} Events  the fields of each event, by its name
 */

(function () {
    const {flash} = /** @type {any} */ (window);

    /**
     * What the server sends over a link: for each event its fields.
     * @type {{[Name in keyof Events]: (fields: Events[Name]) => Events[Name]}}
     */
    const events = {
        hello: ({page, life, ping, reconnect_grace, revoked = [], workers = false}) => {
            return {page, life, ping, reconnect_grace, revoked, workers};
        },
        open: ({stream, callback_id, output, match, again, conflate, components, conditions, props, reset}) => ({
            stream,
            callback_id,
            output,
            match,
            again,
            conflate,
            components,
            conditions,
            props,
            reset
        }),
        props: ({stream, props}) => ({stream, props}),
        end: ({stream, reason, props, error, handled = false}) => ({stream, reason, props, error, handled}),
        refused: ({callback_id, match, message, status = null}) => ({callback_id, match, message, status}),
        mistake: ({callback, message}) => ({callback, message}),
        ping: ({lives}) => ({lives}),
        over: ({page, life, status, message}) => ({page, life, status, message})
    };

    /** What the page sends: for each route the fields of its messages. */
    const messages = {
        /** @param {{events: Record<string, string>}} fields */
        ack: ({events}) => ({events}),
        /** @param {{page: string, stream: string, condition: number | 'layout', value: any, change: number}} fields */
        cancel: ({page, stream, condition, value, change}) => ({page, stream, condition, value, change}),
        /** @param {{page: string}} fields */
        close: ({page}) => ({page}),
        /** @param {{page: string}} fields */
        ticket: ({page}) => ({page}),
        /** @param {{id: number, to: string, headers: Record<string, string>, body: string}} fields */
        control: ({id, to, headers, body}) => ({id, to, headers, body})
    };

    /** What the server answers: for each route the fields of its answers. */
    const answers = {
        /** @param {{message: null}} fields */
        status: ({message}) => ({message}),
        /** @param {{refused: RefusedPage[]}} fields */
        ack: ({refused}) => ({refused}),
        /** @param {{ticket: string | null}} fields */
        ticket: ({ticket}) => ({ticket}),
        /** @param {ControlAnswer} fields @returns {ControlAnswer} */
        control: ({id, status, type, text, life}) => ({id, status, type, text, life})
    };

    /**
     * The reasons for the end of a stream on which the page acts: some of the server's `EndReason`. The others are only
     * shown.
     */
    const REASONS = {
        COMPLETED: 'completed',
        FAILED: 'failed',
        DISCONNECTED: 'disconnected',
        SHUTDOWN: 'shutdown',
        REVOKED: 'revoked'
    };
    /** The status of an `over` for a page that has a newer link. */
    const TAKEN_OVER = 409;
    /** The status of an `over` for a page whose life is over: a new link begins another one. */
    const LIFE_OVER = 410;
    /** The header by which pages prove that a request is their own: their secrets, with commas. */
    const PROOF_HEADER = 'X-Flash-Proof';
    /** The header that names a start, which may be sent twice. */
    const START_HEADER = 'X-Flash-Start';
    /** The field of a start by which a page follows the run that is still going, and starts none. */
    const RESUME_FIELD = 'resume';
    /** The header of the answer to a start: the life of the channel in which the stream runs. */
    const LIFE_HEADER = 'X-Flash-Life';

    /**
     * A page in the address of a link, and how far it has come: see `Standing` in `wire.py`.
     * @param {string} page  its token
     * @param {number} turn  how often it has changed what carries its events
     * @param {string} last  the id of the last event that has reached it; '' if none has
     * @param {number | null} [link]  the number of the link among those of the page's hub; null if the page opens it
     */
    function standing(page, turn, last, link = null) {
        return `${page}:${turn}${link === null ? '' : `.${link}`}${last && `:${last}`}`;
    }

    /**
     * Whether an event comes after another: it has a later number, or is of another life.
     * @param {string} id
     * @param {string} last  the id of the other; '' for none
     */
    function follows(id, last) {
        const [life, number] = id.split('.');
        const [lastLife, lastNumber] = last.split('.');
        return life !== lastLife || Number(number) > Number(lastNumber);
    }

    /** Whether an event has a number of its own. @param {keyof Events} name */
    function isNumbered(name) {
        return name !== 'hello' && name !== 'ping' && name !== 'over';
    }

    /**
     * The fields of an event.
     * @template {keyof Events} Name
     * @param {Name} name
     * @param {string} text  its data
     * @returns {Events[Name]}
     */
    function parse(name, text) {
        return events[name](JSON.parse(text));
    }

    /**
     * A message of the page, as JSON.
     * @template {keyof typeof messages} Name
     * @param {Name} name
     * @param {Parameters<typeof messages[Name]>[0]} fields
     */
    function encode(name, fields) {
        return JSON.stringify(messages[name](/** @type {any} */ (fields)));
    }

    /**
     * The fields of an answer.
     * @template {keyof typeof answers} Name
     * @param {Name} name
     * @param {string} text  the body of the answer
     * @returns {ReturnType<typeof answers[Name]>}
     */
    function parseAnswer(name, text) {
        return /** @type {any} */ (answers[name])(JSON.parse(text));
    }

    /**
     * The characters with which the JSON of every event of a stream begins: by them such events are found unparsed.
     * @param {string} stream  its id
     */
    function streamPrefix(stream) {
        return `{"stream":${JSON.stringify(stream)},`;
    }

    Object.assign(flash, {
        wire: {
            events,
            messages,
            answers,
            standing,
            follows,
            isNumbered,
            parse,
            encode,
            parseAnswer,
            streamPrefix,
            REASONS,
            TAKEN_OVER,
            LIFE_OVER,
            PROOF_HEADER,
            START_HEADER,
            RESUME_FIELD,
            LIFE_HEADER
        }
    });
})();
