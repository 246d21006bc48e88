// @ts-check
/**
 * The pages that a hub carries: which of its links brings the events of each, and how far each has come.
 *
 * A hub opens a new link when it gets another page, while the one before still brings events. Both may bring the same
 * event. Each brings the events of a page in order and without a gap, and begins no later than behind the last event
 * that the hub has had of the page. So the hub passes on each event once and in order if it leaves out those that are
 * not above the last one. Links are numbered, for one that the hub has given up may reach the server after a newer one:
 * the server refuses it then.
 *
 * Nothing here knows of ports, connections or time: `hub.js` does. A classic script, which becomes a part of the hub's.
 */

/**
 * @typedef {{page: string, turn: number, last: string, ticket: string | null}} Announced  what a page says of itself:
 *     its token, its turn, the id of the last event that it has, and its ticket
 * @typedef {object} CarriedPage
 * @property {string} page  its token
 * @property {number} turn
 * @property {string} last  the id of the last event that was passed on; '' if none was
 * @property {string | null} ticket  for the next link
 * @property {number} link  the number of the link that is to bring its events; 0 if one has to be opened
 * @property {number} opened  the number of the newest link that was opened for it, whatever has become of that
 * @property {boolean} isLinked  whether that link, or one before, brings its events
 * @property {string} life  the one that the last `hello` named
 */

/**
 * @typedef {{kind: 'event', type: string, data: string, lastEventId: string}} Passed  an event, as an EventSource
 *     brings it
 * @typedef {Passed | {kind: 'cut' | 'over' | 'refused'}} HubMessage  what a hub sends to a page: an event; that the
 *     link was cut, and the hub opens another; that the page's life is over; that the page was refused. After the last
 *     two it is not carried
 * @typedef {{page: string, message: HubMessage}} Delivery  a message, and the page that it is for
 */

(function () {
    const {flash} = /** @type {any} */ (globalThis);
    const {wire} = flash;

    class HubPages {
        /** @type {Map<string, CarriedPage>} */
        pages = new Map();
        /** The pages, by their lives. @type {Map<string, CarriedPage>} */
        lives = new Map();

        /**
         * Carry a page, from the next link on.
         * @param {Announced} announced
         */
        carry({page, turn, last, ticket}) {
            this.drop(page);
            this.pages.set(page, {page, turn, last, ticket, link: 0, opened: 0, isLinked: false, life: ''});
        }

        /**
         * Carry a page no more; says whether it was carried.
         * @param {string} page
         */
        drop(page) {
            const life = this.pages.get(page)?.life;
            if (life) {
                this.lives.delete(life);
            }
            return this.pages.delete(page);
        }

        /**
         * A link is being opened for all pages: the query of its address.
         * @param {number} link  its number, which is higher than those before
         */
        query(link) {
            const pages = [...this.pages.values()];
            const standings = pages.map(({page, turn, last}) => ['page', wire.standing(page, turn, last, link)]);
            const tickets = pages.flatMap(({ticket}) => (ticket === null ? [] : [['ticket', ticket]]));
            pages.forEach(each => Object.assign(each, {link, opened: link, ticket: null}));
            return new URLSearchParams([...standings, ...tickets]);
        }

        /**
         * An event has come over a link: the messages that are to be sent for it.
         * @param {number} link
         * @param {{type: string, data: string, lastEventId: string}} event
         * @returns {Delivery[]}
         */
        receive(link, {type, data, lastEventId}) {
            /** @type {Passed} */
            const passed = {kind: 'event', type, data, lastEventId};
            if (type === 'hello') {
                return this.greet(link, passed);
            }
            if (type === 'over') {
                return this.end(link, passed);
            }
            if (type === 'ping') {
                const asked = wire.parse('ping', data).lives.map((/** @type {string} */ life) => this.lives.get(life));
                // An event without a number has the id of the one before it, which may be another page's.
                return asked.filter(Boolean).map((/** @type {CarriedPage} */ {page, last}) => {
                    return {page, message: {...passed, lastEventId: last}};
                });
            }
            const carried = this.lives.get(lifeOf(lastEventId));
            if (carried === undefined || !wire.follows(lastEventId, carried.last)) {
                return [];
            }
            carried.last = lastEventId;
            return [{page: carried.page, message: passed}];
        }

        /**
         * `hello`: a link brings the events of a page. The page is not told if another link has brought them already.
         * @param {number} link
         * @param {Passed} passed
         * @returns {Delivery[]}
         */
        greet(link, passed) {
            const {page, life} = wire.parse('hello', passed.data);
            const carried = this.pages.get(page);
            if (carried === undefined || carried.link !== link) {
                return [];
            }
            const {isLinked: wasLinked, life: lifeBefore} = carried;
            this.lives.delete(lifeBefore);
            this.lives.set(life, carried);
            Object.assign(carried, {isLinked: true, life});
            if (lifeOf(carried.last) !== life) {
                carried.last = passed.lastEventId;
            }
            if (wasLinked && life === lifeBefore) {
                return [];
            }
            const cut = wasLinked ? [{page, message: /** @type {HubMessage} */ ({kind: 'cut'})}] : [];
            return [...cut, {page, message: passed}];
        }

        /**
         * `over`: a link does not carry a page, which is then carried no more. Only the link that is to do so counts.
         * If a newer one of the hub's has taken the page along, and was lost, the page waits for the next.
         * @param {number} link
         * @param {Passed} passed
         * @returns {Delivery[]}
         */
        end(link, passed) {
            const {page, status} = wire.parse('over', passed.data);
            const carried = this.pages.get(page);
            if (carried?.link !== link) {
                return [];
            }
            if (status === wire.TAKEN_OVER && carried.opened > link) {
                Object.assign(carried, {link: 0, isLinked: false});
                return [{page, message: {kind: 'cut'}}];
            }
            this.drop(page);
            if (status === wire.TAKEN_OVER) {
                return [{page, message: {...passed, lastEventId: carried.last}}];
            }
            return [{page, message: {kind: status === wire.LIFE_OVER ? 'over' : 'refused'}}];
        }

        /** Whether there are pages for which no link was opened. */
        hasNew() {
            return [...this.pages.values()].some(({link}) => link === 0);
        }

        /**
         * A link could not be opened: the one before goes on for the pages whose events it brings.
         * @param {number} link  the number of the one before
         */
        keepLink(link) {
            this.pages.forEach(carried => (carried.link = carried.isLinked ? link : 0));
        }

        /**
         * A link is gone, and there is no other: messages for the pages that are without one now.
         * @returns {Delivery[]}
         */
        cut() {
            const pages = [...this.pages.values()].filter(({isLinked}) => isLinked);
            pages.forEach(carried => (carried.isLinked = false));
            return pages.map(({page}) => ({page, message: {kind: 'cut'}}));
        }

        /**
         * The server has refused a link as a whole: the pages whose events no link brings are carried no more.
         * @returns {Delivery[]}
         */
        refuse() {
            const refused = [...this.pages.values()].filter(({isLinked}) => !isLinked);
            refused.forEach(({page}) => this.drop(page));
            return refused.map(({page}) => ({page, message: {kind: 'refused'}}));
        }
    }

    /** The life in the id of an event; '' if there is none. @param {string} id */
    function lifeOf(id) {
        return id.split('.')[0];
    }

    Object.assign(flash, {HubPages});
})();
